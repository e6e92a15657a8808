"""Tests that clients written exactly as the specification shows work with these services.

They use no path prefix and a new HTTP client for each call, and judge answers by their status.
"""

import asyncio
from typing import Annotated, Any
from uuid import uuid4

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.testclient import TestClient

from chassis.errors import ServiceError
from chassis.service_client import ServiceClient

from .users import PASSWORD, Person, Stack, get_json, register, send_request

# -- a service that asks identity about tokens --------------------------------------------------


def build_literal_service(identity_url: str) -> FastAPI:
    """Build a service with one protected route exactly as the specification shows."""
    app = FastAPI()

    async def validated(
        credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())],
    ) -> Any:
        headers = {"Authorization": f"Bearer {credentials.credentials}"}
        async with httpx.AsyncClient() as client:
            response = await client.post(f"{identity_url}/auth/validate", headers=headers)
        if response.status_code != 200:
            raise HTTPException(401, "Invalid token")
        return response.json()

    @app.get("/protected")
    async def protected(user: Annotated[Any, Depends(validated)]) -> Any:
        return {name: user[name] for name in ("user_id", "email", "roles", "permissions")}

    return app


def request_protected(stack: Stack, token: str) -> Any:
    client = TestClient(build_literal_service(stack.get_url("identity-service")))
    return client.get("/protected", headers={"Authorization": f"Bearer {token}"})


def test_a_service_that_judges_by_the_status_alone_lets_a_person_in(stack: Stack) -> None:
    person = register(stack)

    response = request_protected(stack, person.token)

    assert response.status_code == 200
    assert response.json()["user_id"] == person.user_id
    assert response.json()["email"] == person.email
    assert response.json()["roles"] == ["member"]
    assert "documents:write" in response.json()["permissions"]


def test_it_keeps_out_who_has_logged_out(stack: Stack) -> None:
    person = register(stack)
    person.request("POST", "identity", "/auth/logout")

    response = request_protected(stack, person.token)

    assert response.status_code == 401


@pytest.mark.parametrize(
    "token",
    [
        "nonsense",
        "a.b.c",
        # {"alg": "none"} with a body that would make an admin of anybody
        "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJhZG1pbiIsInJvbGVzIjpbImFkbWluIl19.",
    ],
)
def test_it_keeps_out_who_has_no_token_of_identity(stack: Stack, token: str) -> None:
    response = request_protected(stack, token)

    assert response.status_code == 401


def test_it_keeps_out_who_sends_a_refresh_token(stack: Stack) -> None:
    person = register(stack)
    credentials = {"email": person.email, "password": PASSWORD}
    session = get_json(send_request(stack, "POST", "identity", "/auth/login", json=credentials))

    response = request_protected(stack, session["refresh_token"])

    assert response.status_code == 401


def test_a_token_may_come_in_the_body_too(stack: Stack) -> None:
    person = register(stack)

    found = send_request(stack, "POST", "identity", "/auth/validate", json={"token": person.token})
    refused = send_request(stack, "POST", "identity", "/auth/validate", json={"token": "nonsense"})

    assert (found.status_code, found.json()["user_id"]) == (200, person.user_id)
    assert refused.status_code == 401


# -- clients ------------------------------------------------------------------------------------


def test_a_client_made_for_one_call_reads_a_profile(stack: Stack) -> None:
    person = register(stack)
    headers = {
        "Content-Type": "application/json",
        "X-Service-Name": "content-service",
        "X-Trace-ID": str(uuid4()),
        "Authorization": f"Bearer {person.token}",
    }

    response = send_request(
        stack, "GET", "identity", f"/users/{person.user_id}/profile", headers=headers
    )

    assert response.status_code == 200
    assert response.json()["email"] == person.email
    assert response.headers["X-Trace-ID"] == headers["X-Trace-ID"]


def test_the_chassis_client_is_used_as_the_specification_shows(stack: Stack) -> None:
    person = register(stack)

    profile = asyncio.run(read_profile(stack, person, person.user_id))

    assert profile["user_id"] == person.user_id


def test_its_failures_are_service_errors_with_a_status(stack: Stack) -> None:
    person = register(stack)
    stranger = register(stack)

    with pytest.raises(ServiceError) as caught:
        asyncio.run(read_profile(stack, stranger, person.user_id))

    assert caught.value.status_code == 403
    assert str(ServiceError("identity-service timeout", 503)) == "identity-service timeout"


async def read_profile(stack: Stack, person: Person, user_id: str) -> Any:
    client = ServiceClient(
        base_url=stack.get_url("identity-service"), service_name="content-service"
    )
    try:
        return await client.make_request(
            "GET",
            f"/users/{user_id}/profile",
            headers={"Authorization": f"Bearer {person.token}"},
        )
    finally:
        await client.aclose()
