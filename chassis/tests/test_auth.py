"""Tokens and permissions of requests."""

from collections.abc import AsyncIterator

import pytest

from .toy_identity import Identity, running


async def test_a_token_is_checked_once_and_before_the_body_is_read() -> None:
    identity = Identity(deaf=True)  # so that nothing is cached
    ada = identity.add_person("documents:write")
    sent: list[str] = []

    async def body() -> AsyncIterator[bytes]:
        sent.append("a part")
        yield b"{"

    async with running(identity) as client:
        stranger = await client.put("/documents", content=body())
        known = await client.put("/documents", json={"a": 1}, headers=ada.headers)
        wrong_method = await client.patch("/documents", content=body())

    assert (stranger.status_code, stranger.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert sent == []
    assert (known.status_code, wrong_method.status_code) == (200, 405)
    assert identity.validations == 1


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"Bearer",
        b"Bearer ",
        b"Basic YWRhOmFkYQ==",
        b"Token abc",
        b"BearerX abc",
        b"Bearer two words",
        b"Bearer \xfc\xf1\xef",
        b"Bearer tab\there",
        b"Bearer nul\x00",
    ],
)
async def test_a_malformed_token_is_401_without_a_call_to_identity(
    header: bytes | None,
) -> None:
    identity = Identity()

    async with running(identity) as client:
        headers = {} if header is None else {"Authorization": header}
        response = await client.get("/me", headers=headers)  # type: ignore[arg-type]

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.json()["detail"] == "Not authenticated"
    assert identity.validations == 0


@pytest.mark.parametrize("token", ["garbage", "x" * 20_000, "a.b.c", "../../etc", "%00", "\\"])
async def test_a_token_that_identity_does_not_know_is_401(token: str) -> None:
    async with running(Identity()) as client:
        response = await client.get("/me", headers={"Authorization": f"Bearer {token}"})

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.json()["detail"] == "Invalid or expired token"
    assert token not in response.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
async def test_the_scheme_may_be_written_in_any_way(scheme: str) -> None:
    identity = Identity()
    ada = identity.add_person()

    async with running(identity) as client:
        headers = {"Authorization": f"{scheme} {ada.token}"}
        response = await client.get("/me", headers=headers)

    assert response.status_code == 200


async def test_a_missing_permission_is_403_and_named() -> None:
    identity = Identity()
    reader = identity.add_person("documents:read")

    async with running(identity) as client:
        response = await client.post("/documents", headers=reader.headers)

    assert response.status_code == 403
    assert response.json()["detail"] == "This needs the permission documents:write"


@pytest.mark.parametrize("permission", ["documents:write", "*"])
async def test_the_permission_itself_or_the_star_grants_access(permission: str) -> None:
    identity = Identity()
    writer = identity.add_person(permission)

    async with running(identity) as client:
        response = await client.post("/documents", headers=writer.headers)

    assert response.json() == writer.user_id


async def test_the_user_names_the_service_that_acts_for_them() -> None:
    identity = Identity()
    service = identity.add_person(roles=("service",))
    acting = identity.add_person(actor="workflow-service")

    async with running(identity) as client:
        one = (await client.get("/me", headers=service.headers)).json()
        two = (await client.get("/me", headers=acting.headers)).json()

    assert one == {"user_id": service.user_id, "actor": None, "service": True}
    assert two == {"user_id": acting.user_id, "actor": "workflow-service", "service": False}


async def test_the_docs_know_which_endpoints_want_a_token() -> None:
    async with running(Identity()) as client:
        schema = (await client.get("/openapi.json")).json()

    assert schema["paths"]["/me"]["get"]["security"] == [{"Bearer": []}]
    assert schema["components"]["securitySchemes"]["Bearer"]["scheme"] == "bearer"
