"""The change feed announces, in order, each change that affects what /auth/validate returns."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from .conftest import PASSWORD, Person, bearer

Change = tuple[str | None, str | None]


class Follower:
    """Polls the feed as other services do, each time for what is new."""

    def __init__(self, client: TestClient, token: str) -> None:
        self.client = client
        self.token = token
        self.seq = self.poll(None)["latest"]

    def poll(self, after: int | None, wait: float = 0) -> dict[str, Any]:
        parameters = {"wait": wait} | ({} if after is None else {"after": after})
        answer = self.client.get("/auth/changes", params=parameters, headers=bearer(self.token))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def read_new_changes(self, wait: float = 0) -> list[Change]:
        feed = self.poll(self.seq, wait)
        assert feed["reset"] is False
        self.seq = feed["latest"]
        return [(change["user_id"], change["session_id"]) for change in feed["changes"]]


@pytest.fixture
def follower(client: TestClient, service_token: Callable[..., str]) -> Follower:
    return Follower(client, service_token("content-service"))


@pytest.fixture
def read_changes(follower: Follower, person: Person) -> Iterator[Callable[[], list[Change]]]:
    """Return the changes since `person` registered."""
    follower.read_new_changes()
    yield follower.read_new_changes


def test_a_logout_names_the_session(
    read_changes: Callable[[], list[Change]], person: Person
) -> None:
    person.request("POST", "/auth/logout")

    assert read_changes() == [(person.id, person.session_id)]


def test_reuse_of_a_refresh_token_names_the_session(
    read_changes: Callable[[], list[Change]], client: TestClient, person: Person
) -> None:
    token = person.refresh_token
    for _ in range(2):
        answer = client.post("/auth/refresh", json={"refresh_token": token})
        token = answer.json()["refresh_token"]
    client.post("/auth/refresh", json={"refresh_token": person.refresh_token})

    assert read_changes() == [(person.id, person.session_id)]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/users/{id}", {"is_active": False}),
        ("PATCH", "/users/{id}", {"locked_until": "2100-01-01T00:00:00Z"}),
        ("PATCH", "/users/{id}", {"is_verified": True}),
        ("PATCH", "/users/{id}", {"email": "somebody-new@example.com"}),
        ("PUT", "/users/{id}/roles", {"roles": ["viewer"]}),
        ("DELETE", "/users/{id}", None),
    ],
)
def test_what_an_administrator_does_names_the_user(
    read_changes: Callable[[], list[Change]],
    person: Person,
    admin: Person,
    method: str,
    path: str,
    body: Any,
) -> None:
    admin.request(method, path.format(id=person.id), json=body)

    assert read_changes() == [(person.id, None)]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "/auth/sessions", None),
        ("DELETE", "/auth/sessions?keep_current=true", None),
        (
            "POST",
            "/auth/change-password",
            {"current_password": PASSWORD, "new_password": "another long password"},
        ),
    ],
)
def test_what_ends_many_sessions_names_the_user(
    read_changes: Callable[[], list[Change]], person: Person, method: str, path: str, body: Any
) -> None:
    person.request(method, path, json=body)

    assert read_changes() == [(person.id, None)]


def test_a_change_of_a_role_names_all_users(
    admin: Person, new_role: Callable[..., str], follower: Follower
) -> None:
    role = new_role("documents:read")
    follower.read_new_changes()

    admin.request("PATCH", f"/roles/{role}", json={"permissions": []})
    admin.request("DELETE", f"/roles/{role}")

    assert follower.read_new_changes() == [(None, None), (None, None)]


def test_rejected_requests_are_not_announced(
    read_changes: Callable[[], list[Change]], person: Person, admin: Person
) -> None:
    person.request("DELETE", f"/auth/sessions/{uuid4()}")
    person.request("PUT", f"/users/{person.id}/roles", json={"roles": ["admin"]})
    admin.request("PUT", f"/users/{person.id}/roles", json={"roles": ["no-such-role"]})
    admin.request("PATCH", f"/users/{person.id}", json={"email": admin.email})

    assert read_changes() == []


def test_changes_that_do_not_affect_validation_are_not_announced(
    read_changes: Callable[[], list[Change]], person: Person, admin: Person
) -> None:
    profile = {"name": "Grace", "phone": "+4915112345678", "locale": "de"}

    changed = person.request("PATCH", f"/users/{person.id}/profile", json=profile)
    renamed = admin.request("PATCH", f"/users/{person.id}", json={"name": "Ada"})

    assert (changed.status_code, renamed.status_code) == (200, 200)
    assert read_changes() == []


def test_a_waiting_poll_returns_at_once_when_something_changes(
    follower: Follower, person: Person
) -> None:
    follower.read_new_changes()
    with ThreadPoolExecutor(1) as thread:
        poll = thread.submit(follower.read_new_changes, wait=2)
        time.sleep(0.3)

        started = time.perf_counter()
        person.request("POST", "/auth/logout")
        heard = poll.result()

    assert heard == [(person.id, person.session_id)]
    assert time.perf_counter() - started < 1


def test_a_poll_ends_after_its_wait(follower: Follower) -> None:
    started = time.perf_counter()

    assert follower.read_new_changes(wait=0.3) == []

    assert 0.3 <= time.perf_counter() - started < 1.5


def test_an_unknown_position_is_a_reset(follower: Follower, person: Person) -> None:
    person.request("POST", "/auth/logout")
    latest = follower.poll(None)["latest"]

    ahead = follower.poll(latest + 1)

    assert ahead == {"latest": latest, "reset": True, "changes": []}
    assert follower.poll(latest)["reset"] is False


def test_a_position_that_was_pruned_is_a_reset(
    follower: Follower, new_person: Callable[[], Person], sql: Callable[..., list[Any]]
) -> None:
    for _ in range(3):
        new_person().request("POST", "/auth/logout")
    latest = follower.poll(None)["latest"]

    sql("DELETE FROM changes WHERE seq < :latest", latest=latest)

    assert follower.poll(latest - 2)["reset"] is True
    assert [change["seq"] for change in follower.poll(latest - 1)["changes"]] == [latest]


def test_changes_appear_in_the_order_of_their_numbers(
    follower: Follower, new_person: Callable[[], Person]
) -> None:
    """Users log out in parallel while a follower polls: it sees each logout exactly once."""
    people = [new_person() for _ in range(12)]
    follower.read_new_changes()
    heard: list[Change] = []
    with ThreadPoolExecutor(12) as threads:
        logouts = [threads.submit(p.request, "POST", "/auth/logout") for p in people]
        while not all(logout.done() for logout in logouts):
            heard += follower.read_new_changes()
    heard += follower.read_new_changes()

    assert sorted(map(str, heard)) == sorted(str((p.id, p.session_id)) for p in people)


def test_the_feed_is_for_services(client: TestClient, person: Person, admin: Person) -> None:
    assert person.request("GET", "/auth/changes?wait=0").status_code == 403
    assert client.get("/auth/changes?wait=0").status_code == 401


@pytest.mark.parametrize(
    "query", ["after=-1", "after=x", "wait=3", "wait=-1", "wait=nan", f"after={2**63}"]
)
def test_a_poll_rejects_and_names_invalid_parameters(admin: Person, query: str) -> None:
    answer = admin.request("GET", f"/auth/changes?{query}")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == query.split("=")[0]
