"""Every route: who may call it, and that invalid input is rejected and never causes a failure."""

import re
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from identity_service.main import app

from .conftest import Person

ROUTES = [
    (method.upper(), path)
    for path, operations in app.openapi()["paths"].items()
    for method in operations
]
TAKE_JSON = [
    (method, path)
    for method, path in ROUTES
    if "application/json"
    in app.openapi()["paths"][path][method.lower()].get("requestBody", {}).get("content", {})
    if not path.endswith("/validate")  # treats every invalid body as an invalid token
]
BAD_BODIES = [b"", b"null", b"[]", b"{", b'"x"', b"\xff", b"[" * 50_000, b'{"unknown": 1}']


def fill_path(path: str) -> str:
    return re.sub(r"{\w+_id}", str(uuid4()), path).replace("{name}", "no-such-role")


def test_every_route_is_under_the_prefix_or_health() -> None:
    assert {path for _, path in ROUTES if not path.startswith(("/api/v1/", "/health"))} == set()


@pytest.mark.parametrize(("method", "path"), TAKE_JSON)
def test_invalid_bodies_are_rejected_by_every_route(admin: Person, method: str, path: str) -> None:
    for body in BAD_BODIES:
        answer = admin.client.request(
            method,
            fill_path(path),
            content=body,
            headers=admin.headers | {"Content-Type": "application/json"},
        )
        assert answer.status_code in (400, 422), body
        assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/auth/me", "/auth/login", "/users"])
def test_what_clients_call_without_the_prefix_is_there_but_not_in_the_schema(
    client: TestClient, path: str
) -> None:
    assert client.get(path).status_code in (401, 405)
    assert path not in app.openapi()["paths"]


@pytest.mark.parametrize("identifier", ["1", "me", "%00", "..%2f..", "null"])
def test_malformed_ids_are_rejected(admin: Person, identifier: str) -> None:
    answers: list[Any] = [
        admin.request("GET", f"/users/{identifier}"),
        admin.request("DELETE", f"/users/{identifier}"),
        admin.request("DELETE", f"/auth/sessions/{identifier}"),
    ]

    assert {answer.status_code for answer in answers} <= {404, 422}


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=%00", "cursor=e30"])
@pytest.mark.parametrize("path", ["/users", "/roles", "/audit-events", "/auth/sessions"])
def test_a_list_rejects_and_names_invalid_page_parameters(
    admin: Person, path: str, query: str
) -> None:
    answer = admin.request("GET", f"{path}?{query}")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == query.split("=")[0]


def test_a_body_of_ten_megabytes_is_too_large(client: TestClient) -> None:
    answer = client.post("/auth/login", json={"email": "x" * 10_000_000, "password": "x"})

    assert answer.status_code == 413


def test_health_is_what_the_specification_says(client: TestClient) -> None:
    health = client.get("/health").json()

    assert (health["service"], health["status"]) == ("identity-service", "healthy")
    assert health["dependencies"] == {"database": "healthy", "redis": "healthy"}
    schema = client.get("/health/ready").json()["schema"]
    assert schema["current"] == schema["head"]
