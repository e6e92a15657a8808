"""Tests the routes of every service: each has a policy, requires a token, and is strict."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from .security.policies import read_policies
from .services_under_test import assert_problem

HEALTH_ROUTES = {"GET /health", "GET /health/live", "GET /health/ready"}
STANDARD_PATHS = (
    "/health",
    "/metrics",
    "/docs",
    "/redoc",
    "/openapi.json",
    "/static-offline-docs",
    "/.well-known",
)


def test_every_route_has_a_policy_and_every_policy_a_route(folder: Path, app: FastAPI) -> None:
    routes = {
        f"{method} {str(route.path).removeprefix('/api/v1')}"
        for route in iter_route_contexts(app.routes)
        for method in route.methods or ()
        if not str(route.path).startswith(STANDARD_PATHS)
    }

    assert routes == read_policies(folder).keys()


def test_routes_ask_for_a_token_unless_their_policy_lets_anybody_in(
    folder: Path, app: FastAPI
) -> None:
    open_routes = {
        name
        for name, operation in operations(app).items()
        if not operation["security"] or {} in operation["security"]  # {}: a login is optional
    }

    assert open_routes == public(folder) | HEALTH_ROUTES


def public(folder: Path) -> set[str]:
    declared = read_policies(folder).items()
    return {name.replace(" ", " /api/v1") for name, policy in declared if policy.is_public}


def test_business_routes_are_under_the_versioned_prefix(app: FastAPI) -> None:
    paths = {name.partition(" ")[2] for name in operations(app)}

    assert [p for p in paths if not p.startswith("/api/v1/") and not p.startswith("/health")] == []


def test_protected_routes_refuse_a_request_without_a_token(
    folder: Path, app: FastAPI, started: TestClient
) -> None:
    for name in operations(app).keys() - public(folder) - HEALTH_ROUTES:
        method, path = name.split()

        response = started.request(method, re.sub(r"\{\w+\}", "x", path))

        assert_problem(response, 401)
        assert response.headers["www-authenticate"] == "Bearer", name


def test_a_strangers_body_is_not_looked_at(folder: Path, app: FastAPI, started: TestClient) -> None:
    for name in operations(app).keys() - public(folder):
        method, path = name.split()
        if method in ("POST", "PUT", "PATCH"):
            for kind in ("application/json", "multipart/form-data"):
                response = started.request(
                    method,
                    re.sub(r"\{\w+\}", "x", path),
                    headers={"Content-Type": kind, "Idempotency-Key": "a-key"},
                    content=b"{",
                )

                assert response.status_code == 401, f"{name}: {response.text}"


def test_request_models_refuse_unknown_fields(app: FastAPI) -> None:
    schemas = app.openapi().get("components", {}).get("schemas", {})
    bodies = [
        operation["requestBody"]["content"]["application/json"]["schema"]
        for operation in operations(app).values()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    ]

    lenient = {title for body in bodies for title in lenient_objects(body, schemas, set())}

    assert lenient == set()


def lenient_objects(schema: Any, schemas: Mapping[str, Any], seen: set[str]) -> Iterator[str]:
    """Yield the titles of objects in a schema that accept unknown fields."""
    if isinstance(schema, list):
        schema = dict(enumerate(schema))
    if not isinstance(schema, dict):
        return
    # By its type: a model may have a field called "properties".
    is_object = schema.get("type") == "object" and "properties" in schema
    if is_object and schema.get("additionalProperties", True):
        yield str(schema.get("title"))
    name = str(schema.get("$ref", "")).removeprefix("#/components/schemas/")
    if name and name not in seen:
        seen.add(name)
        yield from lenient_objects(schemas[name], schemas, seen)
    for key, part in schema.items():
        if key != "examples" or isinstance(part, dict):  # an example can be a schema, too
            yield from lenient_objects(part, schemas, seen)


def operations(app: FastAPI) -> dict[str, dict[str, Any]]:
    """Return the documented operations by "METHOD /path"."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    }
