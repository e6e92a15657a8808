"""Emails: what causes them, and that each is delivered once."""

from collections.abc import Callable, Iterator
from statistics import median
from time import perf_counter
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from .conftest import (
    PASSWORD,
    Mailboxes,
    Person,
    wait_for,
)
from .test_recovery import request_reset, reset

SQL = Callable[..., list[Any]]


@pytest.fixture
def without_communication(mailboxes: Mailboxes) -> Iterator[None]:
    mailboxes.down = True
    yield
    mailboxes.down = False


@pytest.mark.parametrize("path", ["forgot-password", "resend-verification"])
def test_requesting_an_email_does_not_reveal_whether_the_address_is_known(
    person: Person, from_network: Callable[[str], TestClient], path: str
) -> None:
    def request_email(client: TestClient, email: str) -> tuple[float, Any]:
        started = perf_counter()
        answer = client.post(f"/auth/{path}", json={"email": email})
        return perf_counter() - started, (answer.status_code, answer.json())

    def measure_difference() -> float:
        client = from_network(str(uuid4()))  # stays below the limit per network
        pairs = [
            (request_email(client, person.email), request_email(client, f"{uuid4()}@example.com"))
            for _ in range(50)
        ]
        assert len({str(answer) for pair in pairs for _, answer in pair}) == 1
        known, unknown = (median(took for took, _ in side) for side in zip(*pairs, strict=True))
        return float(abs(known - unknown))

    # Other load of the machine passes; a difference that reveals an address would stay.
    assert any(measure_difference() < 0.010 for _ in range(5))


def test_a_stranger_cannot_flood_a_mailbox(client: TestClient, person: Person, sql: SQL) -> None:
    for _ in range(8):
        assert request_reset(client, person.email).status_code == 202

    written = "SELECT 1 FROM mails WHERE user_id = :id AND kind = 'reset-password'"
    assert len(sql(written, id=person.id)) == 5


def test_a_stranger_who_requests_many_emails_does_not_keep_the_user_from_getting_one(
    client: TestClient, person: Person, mailboxes: Mailboxes, sql: SQL
) -> None:
    """Another email is sent when the links of the others are used or have expired."""
    for _ in range(6):
        request_reset(client, person.email)
    assert reset(client, mailboxes.wait_for_link(person.id, "new password")).status_code == 204
    written = "SELECT 1 FROM mails WHERE user_id = :id AND kind = 'reset-password'"

    request_reset(client, person.email)
    assert len(sql(written, id=person.id)) == 6
    half_an_hour_ago = "created_at = now() - interval '30 minutes', link_used_at = NULL"
    sql(f"UPDATE mails SET {half_an_hour_ago} WHERE user_id = :id", id=person.id)
    request_reset(client, person.email)

    assert len(sql(written, id=person.id)) == 7


def test_a_verified_user_gets_no_verification_email(
    client: TestClient, admin: Person, sql: SQL
) -> None:
    client.post("/auth/resend-verification", json={"email": admin.email})

    written = "SELECT 1 FROM mails WHERE user_id = :id AND kind = 'verify-email'"
    assert sql(written, id=admin.id) == []


def test_links_are_sent_only_by_email(person: Person, mailboxes: Mailboxes) -> None:
    mailboxes.wait_for_link(person.id, "confirm")

    (mail,) = mailboxes.find_emails(person.id, "confirm")

    assert (mail["channels"], mail["category"]) == (["email"], "security")


def test_a_login_from_a_new_device_is_reported(
    client: TestClient, person: Person, mailboxes: Mailboxes
) -> None:
    credentials = {"email": person.email, "password": PASSWORD}
    for device in ("testclient", "Lynx/2.9", "Lynx/2.9"):
        client.post("/auth/login", json=credentials, headers={"User-Agent": device})

    (mail,) = wait_for(lambda: mailboxes.find_emails(person.id, "new device"))

    assert "Lynx/2.9" in mail["body"]
    assert mail["channels"] == ["email", "in_app"]


def test_the_reuse_of_a_refresh_token_is_reported(
    client: TestClient, person: Person, mailboxes: Mailboxes
) -> None:
    token = person.refresh_token
    for _ in range(2):
        token = client.post("/auth/refresh", json={"refresh_token": token}).json()["refresh_token"]
    client.post("/auth/refresh", json={"refresh_token": person.refresh_token})

    (mail,) = wait_for(lambda: mailboxes.find_emails(person.id, "ended one of your sessions"))

    assert mail["channels"] == ["email", "in_app"]


def test_nothing_is_lost_while_communication_is_down(
    client: TestClient, person: Person, mailboxes: Mailboxes, sql: SQL, without_communication: None
) -> None:
    """After an hour, the email is delivered, and only then does its link's lifetime begin."""
    assert request_reset(client, person.email).status_code == 202
    waiting = """
        SELECT 1 FROM mails WHERE user_id = :id AND kind = 'reset-password'
        AND status = 'pending' AND last_error IS NOT NULL
    """
    wait_for(lambda: sql(waiting, id=person.id))
    an_hour_ago = "UPDATE mails SET created_at = created_at - interval '1 hour',"
    sql(f"{an_hour_ago} link_expires_at = now() WHERE user_id = :id", id=person.id)

    mailboxes.down = False
    sql("UPDATE mails SET run_at = now() WHERE user_id = :id", id=person.id)

    assert reset(client, mailboxes.wait_for_link(person.id, "new password")).status_code == 204


def test_a_lost_response_causes_no_second_email(
    client: TestClient, person: Person, mailboxes: Mailboxes, sql: SQL
) -> None:
    mailboxes.wait_for_link(person.id, "confirm")
    mailboxes.answers_get_lost = True
    before = mailboxes.requests
    request_reset(client, person.email)
    wait_for(lambda: mailboxes.requests > before)
    mailboxes.answers_get_lost = False

    settled = "SELECT 1 FROM mails WHERE user_id = :id AND status = 'done'"
    wait_for(lambda: len(sql(settled, id=person.id)) == 2)
    assert mailboxes.requests > before + 1
    assert len(mailboxes.find_emails(person.id, "new password")) == 1


def test_emails_claimed_by_a_killed_process_are_delivered_by_another(
    client: TestClient, person: Person, mailboxes: Mailboxes, sql: SQL, without_communication: None
) -> None:
    request_reset(client, person.email)
    taken = """
        UPDATE mails SET status = 'running', lease_until = now() - interval '1 second',
        fence = fence + 1 WHERE user_id = :id AND kind = 'reset-password' RETURNING id
    """
    assert sql(taken, id=person.id)

    mailboxes.down = False

    mailboxes.wait_for_link(person.id, "new password")
