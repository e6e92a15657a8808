"""Who may see and do what. For everyone else, the answer is 404."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from .conftest import EDITOR, Caller, Work
from .fakes import Platform

SOME_ID = "00000000-0000-4000-8000-000000000000"
NEEDS = [
    ("GET", "/definitions", "definitions:read"),
    ("POST", "/definitions", "definitions:write"),
    ("POST", "/definitions/validate", "definitions:read"),
    ("GET", "/definitions/document-review", "definitions:read"),
    ("PUT", "/definitions/document-review", "definitions:write"),
    ("DELETE", "/definitions/document-review", "definitions:write"),
    ("POST", "/workflows", "workflows:start"),
    ("GET", "/workflows", "workflows:read"),
    ("GET", f"/workflows/{SOME_ID}", "workflows:read"),
    ("GET", f"/workflows/{SOME_ID}/history", "workflows:read"),
    ("GET", "/tasks", "workflows:read"),
    ("GET", f"/tasks/{SOME_ID}", "workflows:read"),
    ("POST", f"/tasks/{SOME_ID}/complete", "workflows:read"),
    ("POST", "/ai/summarize", "ai:use"),
    ("POST", "/ai/suggest", "ai:use"),
    ("POST", "/ai/analyze", "ai:use"),
]


@pytest.fixture
def run(starter: Caller, reviewer: Caller, platform: Platform, work: Work) -> dict[str, Any]:
    """Starts a run that waits for the reviewer."""
    given = {"document_id": platform.content.add(starter.user_id), "reviewer_id": reviewer.user_id}
    started = starter.start("document-review", **given)
    work()
    return started


@pytest.mark.parametrize(("method", "path", "permission"), NEEDS)
def test_without_the_permission_it_is_403_and_without_a_token_401(
    client: TestClient, login: Callable[..., Caller], method: str, path: str, permission: str
) -> None:
    others = {*EDITOR, "ai:use"} - {permission}

    refused = login(*others).request(method, path)
    anonymous = client.request(method, path)

    assert refused.status_code == 403
    assert permission in refused.json()["detail"]
    assert anonymous.status_code == 401


def test_a_run_is_404_for_a_stranger(run: dict[str, Any], stranger: Caller) -> None:
    path = f"/workflows/{run['id']}"

    seen = [stranger.get(path), stranger.get(f"{path}/history")]

    assert [response.status_code for response in seen] == [404] * 2
    assert stranger.get("/workflows").json()["items"] == []


def test_the_assignee_of_a_task_sees_the_run(run: dict[str, Any], reviewer: Caller) -> None:
    path = f"/workflows/{run['id']}"

    assert reviewer.get(path).status_code == 200
    assert reviewer.get(f"{path}/history").status_code == 200
    assert reviewer.get("/workflows").json()["items"] == []


def test_an_admin_sees_every_run(run: dict[str, Any], login: Callable[..., Caller]) -> None:
    admin = login("*", roles=("admin",))

    listed = admin.get("/workflows").json()["items"]

    assert run["id"] in [item["id"] for item in listed]
    assert admin.history(run)[0]["actor_id"] == run["started_by"]


def test_only_the_assignee_may_complete_a_task_and_others_get_404(
    run: dict[str, Any],
    starter: Caller,
    reviewer: Caller,
    stranger: Caller,
    login: Callable[..., Caller],
) -> None:
    (task,) = reviewer.tasks()

    path = f"/tasks/{task['id']}"
    refused = starter.post(f"{path}/complete", json={"decision": "approve"})
    assert (starter.get(path).status_code, refused.status_code) == (200, 403)
    for other in (stranger, login("*", roles=("admin",))):
        read = other.get(f"/tasks/{task['id']}")
        decided = other.post(f"/tasks/{task['id']}/complete", json={"decision": "approve"})

        assert (read.status_code, decided.status_code) == (404, 404)
        assert other.tasks() == []
    assert reviewer.tasks()[0]["status"] == "open"


def test_a_revoked_token_is_refused(client: TestClient, platform: Platform) -> None:
    person = platform.identity.add_person("workflows:read")
    assert client.get("/tasks", headers=person.headers).status_code == 200

    platform.identity.revoke(person)

    for _ in range(100):
        if client.get("/tasks", headers=person.headers).status_code == 401:
            return
    raise AssertionError("the token still works")
