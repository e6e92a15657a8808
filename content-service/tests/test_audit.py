"""The audit trail."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import InternalError

from content_service.database import engine

from .conftest import Caller, Login, expect_created
from .test_access import DOCUMENT_ROUTES, TRASH_ROUTES, call_route, prepare_document


def test_every_action_is_recorded_with_its_actor_and_trace(
    author: Caller, reviewer: Caller
) -> None:
    document = author.create()
    path = f"/documents/{document['id']}"
    author.share(document, reviewer, "write")
    reviewer.change(document, title="Reviewed")
    reviewer.get(f"{path}/download", headers={"X-Trace-ID": "trace-of-the-download"})
    author.post(f"{path}/process")
    author.delete(f"{path}/permissions/{reviewer.user_id}")

    entries = author.get(f"{path}/audit").json()["items"]

    assert [(entry["action"], entry["actor_id"]) for entry in entries] == [
        ("permission.revoked", author.user_id),
        ("document.processing_requested", author.user_id),
        ("document.downloaded", reviewer.user_id),
        ("document.updated", reviewer.user_id),
        ("permission.granted", author.user_id),
        ("document.created", author.user_id),
    ]
    assert entries[2]["trace_id"] == "trace-of-the-download"
    assert entries[4]["details"] == {"user_id": reviewer.user_id, "level": "write"}


@pytest.mark.parametrize("route", DOCUMENT_ROUTES, ids=str)
def test_every_action_leaves_one_entry_and_reading_leaves_none(
    author: Caller, login: Login, route: tuple[str, str]
) -> None:
    other = login(roles=("auditor",))
    admin = login("*")
    document = prepare_document(author, route, (other, "write"), ("auditor", "write"))
    path = f"/documents/{document['id']}"
    link = {"id": ""}
    if route not in TRASH_ROUTES:
        link = expect_created(author.post(f"{path}/share-links", json={"policy": "latest"}))
    before = admin.get(f"{path}/audit").json()["items"]

    response = call_route(author, route, document["id"], other.user_id, link["id"])

    assert response.status_code < 300, response.text
    new = len(admin.get(f"{path}/audit").json()["items"]) - len(before)
    assert new == (route[0] != "GET" or route[1].endswith("/download"))


def test_a_service_that_acts_for_a_user_is_named(author: Caller, login: Login) -> None:
    document = author.create()
    workflow = login(user_id=author.user_id, actor="workflow-service")

    workflow.get(f"/documents/{document['id']}/download")

    newest = author.get(f"/documents/{document['id']}/audit").json()["items"][0]
    assert (newest["actor_id"], newest["acting_service"]) == (author.user_id, "workflow-service")


def test_a_refused_action_leaves_no_entry(author: Caller) -> None:
    document = author.create()
    author.change(document, title="Second")

    author.change(document, title="Stale")

    entries = author.get(f"/documents/{document['id']}/audit").json()["items"]
    assert [entry["action"] for entry in entries] == ["document.updated", "document.created"]


@pytest.mark.parametrize(
    "forgery", ["UPDATE content_audit SET action = 'x'", "DELETE FROM content_audit"]
)
def test_the_database_refuses_to_change_the_trail(author: Caller, forgery: str) -> None:
    author.create()

    with pytest.raises(InternalError, match="append-only"), engine.begin() as connection:
        connection.execute(text(forgery))
