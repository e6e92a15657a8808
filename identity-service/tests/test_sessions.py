"""Sessions: rotation of refresh tokens, races, reuse, and every way in which a session ends."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from fastapi.testclient import TestClient
from jose import jwt

from identity_service.settings import settings

from .conftest import PASSWORD, Person, validate

AGE_USED_TOKENS = """
UPDATE refresh_tokens SET used_at = used_at - interval '1 minute' WHERE session_id = :id
"""
LIVE_TOKENS = "SELECT count(*) FROM refresh_tokens WHERE session_id = :id AND used_at IS NULL"


def refresh(client: TestClient, token: str) -> Any:
    return client.post("/auth/refresh", json={"refresh_token": token})


def test_refresh_gives_new_tokens_of_the_same_session(client: TestClient, person: Person) -> None:
    answer = refresh(client, person.refresh_token)

    assert answer.status_code == 200
    tokens = answer.json()
    assert tokens["refresh_token"] != person.refresh_token
    assert validate(client, tokens["access_token"]).json()["session_id"] == person.session_id
    assert tokens.keys() == {
        "access_token",
        "refresh_token",
        "token_type",
        "expires_in",
        "user_id",
    }


def test_a_raced_refresh_gets_the_same_successor_and_leaves_one_live_token(
    client: TestClient, person: Person, sql: Callable[..., list[Any]]
) -> None:
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: refresh(client, person.refresh_token), range(20)))

    assert {answer.status_code for answer in answers} == {200}
    (successor,) = {answer.json()["refresh_token"] for answer in answers}
    assert sql(LIVE_TOKENS, id=person.session_id) == [(1,)]
    assert refresh(client, successor).status_code == 200
    assert len(person.request("GET", "/auth/sessions").json()["items"]) == 1


def test_a_refresh_token_used_after_the_grace_ends_the_session(
    client: TestClient, person: Person, sql: Callable[..., list[Any]]
) -> None:
    newest = refresh(client, person.refresh_token).json()
    sql(AGE_USED_TOKENS, id=person.session_id)

    reused = refresh(client, person.refresh_token)

    assert reused.status_code == 401
    assert reused.json()["detail"] == "Invalid or expired refresh token"
    assert refresh(client, newest["refresh_token"]).status_code == 401
    assert validate(client, newest["access_token"]).status_code == 401


def test_a_refresh_token_whose_successor_was_used_ends_the_session(
    client: TestClient, person: Person
) -> None:
    second = refresh(client, person.refresh_token).json()
    third = refresh(client, second["refresh_token"]).json()

    assert refresh(client, person.refresh_token).status_code == 401
    assert refresh(client, third["refresh_token"]).status_code == 401
    assert person.status == 401


def test_reuse_ends_no_other_session(
    client: TestClient, person: Person, sql: Callable[..., list[Any]]
) -> None:
    elsewhere = person.log_in_again()
    refresh(client, person.refresh_token)
    sql(AGE_USED_TOKENS, id=person.session_id)

    refresh(client, person.refresh_token)

    assert (person.status, elsewhere.status) == (401, 200)


def test_reuse_is_in_the_audit_trail(
    client: TestClient, person: Person, sql: Callable[..., list[Any]]
) -> None:
    refresh(client, person.refresh_token)
    sql(AGE_USED_TOKENS, id=person.session_id)
    refresh(client, person.refresh_token)

    events = sql("SELECT action FROM audit_events WHERE subject_id = :id", id=person.id)

    assert ("session.token_reused",) in events


def test_a_made_up_refresh_token_ends_nothing(client: TestClient, person: Person) -> None:
    assert refresh(client, person.session_id).status_code == 401
    assert refresh(client, person.refresh_token[:-1]).status_code == 401
    assert person.status == 200


def test_logout_ends_this_session_only(client: TestClient, person: Person) -> None:
    elsewhere = person.log_in_again()

    assert person.request("POST", "/auth/logout").status_code == 204

    assert (person.status, elsewhere.status) == (401, 200)
    assert refresh(client, person.refresh_token).status_code == 401
    assert person.request("POST", "/auth/logout").status_code == 401


def test_sessions_are_listed_and_ended_one_by_one(person: Person) -> None:
    elsewhere = person.log_in_again()

    listed = person.request("GET", "/auth/sessions").json()["items"]
    ended = person.request("DELETE", f"/auth/sessions/{elsewhere.session_id}")

    assert [item["id"] for item in listed] == [elsewhere.session_id, person.session_id]
    assert [item["is_current"] for item in listed] == [False, True]
    assert (listed[0]["user_agent"], listed[0]["ip"]) == ("testclient", "testclient")
    assert ended.status_code == 204
    assert (person.status, elsewhere.status) == (200, 401)


def test_sessions_of_another_user_cannot_be_seen_or_ended(person: Person, other: Person) -> None:
    theirs = person.request("DELETE", f"/auth/sessions/{other.session_id}")
    unknown = person.request("DELETE", f"/auth/sessions/{uuid4()}")

    assert theirs.status_code == unknown.status_code == 404
    assert theirs.json()["detail"] == unknown.json()["detail"]
    assert other.status == 200
    assert len(person.request("GET", "/auth/sessions").json()["items"]) == 1


def test_all_sessions_can_be_ended_at_once(person: Person, other: Person) -> None:
    elsewhere = person.log_in_again()

    assert person.request("DELETE", "/auth/sessions").status_code == 204

    assert (person.status, elsewhere.status, other.status) == (401, 401, 200)


def test_all_other_sessions_can_be_ended_at_once(person: Person) -> None:
    elsewhere = person.log_in_again()

    assert person.request("DELETE", "/auth/sessions?keep_current=true").status_code == 204

    assert (person.status, elsewhere.status) == (200, 401)


def test_a_new_password_ends_every_other_session(client: TestClient, person: Person) -> None:
    elsewhere = person.log_in_again()
    change = {"current_password": PASSWORD, "new_password": "another long password"}

    answer = person.request("POST", "/auth/change-password", json=change)

    assert answer.status_code == 204
    assert (person.status, elsewhere.status) == (200, 401)
    assert refresh(client, person.refresh_token).status_code == 200
    old = client.post("/auth/login", json={"email": person.email, "password": PASSWORD})
    assert old.status_code == 401
    assert person.log_in_again("another long password").status == 200


def test_a_new_password_needs_the_current_one(person: Person) -> None:
    elsewhere = person.log_in_again()
    change = {"current_password": "a guess at it", "new_password": "another long password"}

    answer = person.request("POST", "/auth/change-password", json=change)

    assert answer.status_code == 403
    assert (person.status, elsewhere.status, person.log_in_again().status) == (200, 200, 200)


def test_a_password_that_changes_during_a_login_opens_no_session(
    client: TestClient, person: Person
) -> None:
    """In whatever order they happen, no session of the old password is left."""
    change = {"current_password": PASSWORD, "new_password": "another long password"}
    old = {"email": person.email, "password": PASSWORD}
    with ThreadPoolExecutor(8) as threads:
        logins = [threads.submit(lambda: client.post("/auth/login", json=old)) for _ in range(4)]
        changed = threads.submit(
            lambda: person.request("POST", "/auth/change-password", json=change)
        )
        logins += [threads.submit(lambda: client.post("/auth/login", json=old)) for _ in range(4)]

    assert changed.result().status_code == 204
    answers = [login.result() for login in logins]
    assert {answer.status_code for answer in answers} <= {200, 401, 429}
    for answer in answers:
        if answer.status_code == 200:
            assert validate(client, answer.json()["access_token"]).status_code == 401
    assert len(person.request("GET", "/auth/sessions").json()["items"]) == 1


def test_one_session_too_many_ends_the_one_not_used_for_longest(
    client: TestClient, person: Person
) -> None:
    others = [person.log_in_again() for _ in range(settings.sessions_per_user - 1)]
    refresh(client, person.refresh_token)

    newest = person.log_in_again()

    assert [who.status for who in (others[0], person, *others[1:], newest)] == [401] + [200] * len(
        [person, *others]
    )


def test_a_session_ends_when_idle_and_one_day_in_any_case(
    client: TestClient, person: Person, sql: Callable[..., list[Any]]
) -> None:
    def get_end() -> datetime:
        (listed,) = person.request("GET", "/auth/sessions").json()["items"]
        return datetime.fromisoformat(listed["expires_at"])

    idle = timedelta(days=settings.session_idle_days)
    assert abs(get_end() - datetime.now(UTC) - idle) < timedelta(minutes=1)

    aged = "UPDATE sessions SET created_at = now() - :age * interval '1 day' WHERE id = :id"
    sql(aged, age=settings.session_days - 1, id=person.session_id)
    tokens = refresh(client, person.refresh_token).json()
    assert abs(get_end() - datetime.now(UTC) - timedelta(days=1)) < timedelta(minutes=1)

    sql(aged, age=settings.session_days, id=person.session_id)
    assert refresh(client, tokens["refresh_token"]).status_code == 200
    assert refresh(client, tokens["refresh_token"]).status_code == 401
    assert person.status == 401


def test_tokens_of_one_moment_do_not_end_in_one_moment(client: TestClient, person: Person) -> None:
    token = person.refresh_token
    lifetimes = []
    for _ in range(100):
        tokens = refresh(client, token).json()
        token = tokens["refresh_token"]
        claims = jwt.get_unverified_claims(tokens["access_token"])
        assert claims["exp"] - claims["iat"] == tokens["expires_in"]
        lifetimes.append(tokens["expires_in"])

    assert max(lifetimes) - min(lifetimes) > 10
    assert settings.access_token_seconds * 0.9 <= min(lifetimes)
    assert max(lifetimes) <= settings.access_token_seconds
