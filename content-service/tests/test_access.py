"""Access to documents, tried on every route of the API."""

from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from content_service.main import app

from .conftest import Caller, Login, expect_created

PUBLIC = ("/api/v1/shared",)
ROUTES = [
    (method.upper(), path.removeprefix("/api/v1"))
    for path, methods in app.openapi()["paths"].items()
    if path.startswith("/api/v1")
    for method in methods
    if path not in PUBLIC
]
DOCUMENT_ROUTES = [route for route in ROUTES if "{document_id}" in route[1]]

READ_ROUTES = {
    ("GET", "/documents/{document_id}"),
    ("GET", "/documents/{document_id}/download"),
    ("GET", "/documents/{document_id}/permissions/effective"),
    ("GET", "/documents/{document_id}/processing"),
    ("GET", "/documents/{document_id}/versions"),
    ("GET", "/documents/{document_id}/versions/{number}"),
    ("GET", "/documents/{document_id}/versions/{number}/download"),
    ("POST", "/documents/{document_id}/process"),
}
WRITE_ROUTES = READ_ROUTES | {
    ("PATCH", "/documents/{document_id}"),
    ("PUT", "/documents/{document_id}/file"),
    ("POST", "/documents/{document_id}/versions/{number}/restore"),
    ("PUT", "/documents/{document_id}/versions/{number}/label"),
}
MANAGE_ROUTES = set(DOCUMENT_ROUTES)
ROUTES_BY_LEVEL = {"read": READ_ROUTES, "write": WRITE_ROUTES, "manage": MANAGE_ROUTES}

TRASH_ROUTES = {("POST", "/documents/{document_id}/restore"), ("DELETE", "/trash/{document_id}")}
UPLOAD_PATHS = {"/documents/upload", "/documents/{document_id}/file"}
BODIES = {
    "/documents": {"title": "New", "body": "New"},
    "/documents/bulk": {"action": "delete", "document_ids": [str(uuid4())]},
    "/documents/{document_id}": {"title": "Changed", "body": "Changed"},
    "/documents/{document_id}/permissions/{user_id}": {"level": "read"},
    "/documents/{document_id}/permissions/roles/{role}": {"level": "read"},
    "/documents/{document_id}/share-links": {"policy": "latest"},
    "/documents/{document_id}/versions/{number}/label": {"label": "final"},
}


def call_route(
    caller: TestClient, route: tuple[str, str], document_id: str, person: str, link_id: str = ""
) -> Any:
    method, path = route
    ids = {"number": 1, "user_id": person, "role": "auditor", "link_id": link_id or uuid4()}
    url = path.format(document_id=document_id, **ids)
    sent: dict[str, Any] = {"json": BODIES.get(path)}
    if path in UPLOAD_PATHS:
        sent = {"files": {"file": b"words"}}
    params = {"q": "x"} if path.startswith("/search") else {}
    return caller.request(method, url, headers={"If-Match": '"1"'}, params=params, **sent)


def prepare_document(
    author: Caller, route: tuple[str, str], *others: tuple[Caller | str, str]
) -> dict[str, Any]:
    document = author.create()
    for other, level in others:
        author.share(document, other, level)
    if route[1].endswith("/processing"):
        author.process(document)
    if route in TRASH_ROUTES:
        assert author.delete(f"/documents/{document['id']}").status_code == 204
    return document


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_without_a_token_every_route_is_401(client: TestClient, route: tuple[str, str]) -> None:
    response = call_route(client, route, str(uuid4()), str(uuid4()))

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_without_permission_every_route_is_403(login: Login, route: tuple[str, str]) -> None:
    guest = login("notifications:send")

    response = call_route(guest, route, str(uuid4()), str(uuid4()))

    assert response.status_code == 403
    assert "documents:" in response.json()["detail"]


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_a_user_who_may_only_read_documents_changes_none(
    login: Login, route: tuple[str, str]
) -> None:
    viewer = login("documents:read")

    response = call_route(viewer, route, str(uuid4()), str(uuid4()))

    may = route[0] == "GET" and route[1] != "/integrity"
    assert response.status_code in ((200, 404) if may else (403,))


@pytest.mark.parametrize("route", DOCUMENT_ROUTES, ids=str)
def test_a_stranger_gets_the_same_response_as_for_an_unknown_document(
    author: Caller, stranger: Caller, route: tuple[str, str]
) -> None:
    document = prepare_document(author, route)
    person = author.user_id

    real = call_route(stranger, route, document["id"], person)
    imagined = call_route(stranger, route, str(uuid4()), person)

    assert real.status_code == imagined.status_code == 404
    assert get_visible_parts(real) == get_visible_parts(imagined)
    assert route in TRASH_ROUTES or author.read(document).json() == document


def get_visible_parts(response: Any) -> tuple[Any, ...]:
    body = response.json()
    named = {name: body[name] for name in ("title", "detail", "code")}
    return named, {name for name in response.headers}


def test_a_stranger_finds_nothing_in_lists_and_search(author: Caller, stranger: Caller) -> None:
    author.create(title="Palimpsest")

    assert stranger.get("/documents").json() == {"items": [], "next_cursor": None}
    assert stranger.get("/search", params={"q": "palimpsest"}).json()["items"] == []


@pytest.mark.parametrize("route", DOCUMENT_ROUTES, ids=str)
@pytest.mark.parametrize("level", ROUTES_BY_LEVEL)
def test_each_level_allows_its_routes_and_no_other(
    author: Caller, reviewer: Caller, login: Login, level: str, route: tuple[str, str]
) -> None:
    # Something to revoke: the permissions of a user and of a role, and a link.
    other = login(roles=("auditor",))
    shares = ((reviewer, level), (other, "read"), ("auditor", "read"))
    document = prepare_document(author, route, *shares)
    link = {"id": ""}
    if route not in TRASH_ROUTES:
        links = f"/documents/{document['id']}/share-links"
        link = expect_created(author.post(links, json={"policy": "latest"}))

    response = call_route(reviewer, route, document["id"], other.user_id, link["id"])

    assert (response.status_code < 300) == (route in ROUTES_BY_LEVEL[level]), response.text
    if route not in ROUTES_BY_LEVEL[level]:
        refusal = (404, "UnknownDocument") if route in TRASH_ROUTES else (403, "LevelTooLow")
        assert (response.status_code, response.json()["code"]) == refusal


def test_an_administrator_sees_every_document(author: Caller, login: Login) -> None:
    document = author.create(title="Seen by an administrator")
    admin = login("*")

    assert admin.read(document).status_code == 200
    assert document["id"] in [item["id"] for item in admin.get("/documents").json()["items"]]
    assert admin.change(document, title="Moderated").status_code == 200
    assert admin.delete(f"/documents/{document['id']}").status_code == 204


def test_a_service_that_acts_for_a_user_sees_what_the_user_sees(
    author: Caller, login: Login
) -> None:
    document = author.create()
    delegate = login(user_id=author.user_id, actor="workflow-service")
    service = login(roles=("service",))

    assert delegate.read(document).status_code == 200
    assert service.read(document).status_code == 404
