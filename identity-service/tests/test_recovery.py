"""Resetting a forgotten password and verifying an address, with a link from an email."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pyotp
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from .conftest import (
    PASSWORD,
    Mailboxes,
    Person,
    log_in,
    separate_connection,
    validate,
    wait_for,
    wait_until_blocked,
)

SQL = Callable[..., list[Any]]


NEW_PASSWORD = "a quite different phrase"


def request_reset(client: TestClient, email: str) -> Any:
    return client.post("/auth/forgot-password", json={"email": email})


def reset(client: TestClient, token: str, password: str = NEW_PASSWORD) -> Any:
    return client.post("/auth/reset-password", json={"token": token, "new_password": password})


def verify(client: TestClient, token: str) -> Any:
    return client.post("/auth/verify-email", json={"token": token})


@pytest.fixture
def reset_link(client: TestClient, person: Person, mailboxes: Mailboxes) -> str:
    request_reset(client, person.email)
    return mailboxes.wait_for_link(person.id, "new password")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_link_verifies_the_address_once(
    client: TestClient, person: Person, mailboxes: Mailboxes, method: str
) -> None:
    token = mailboxes.wait_for_link(person.id, "confirm")
    follow = {"GET": {"params": {"token": token}}, "POST": {"json": {"token": token}}}[method]

    first = client.request(method, "/auth/verify-email", **follow)  # type: ignore[arg-type]
    second = client.request(method, "/auth/verify-email", **follow)  # type: ignore[arg-type]

    assert (first.status_code, second.status_code) == (200, 410)
    assert second.json()["code"] == "InvalidLink"
    assert person.request("GET", "/auth/me").json()["is_verified"] is True


def test_a_link_sets_a_new_password_once_and_ends_every_session(
    client: TestClient, person: Person, reset_link: str, mailboxes: Mailboxes
) -> None:
    elsewhere = person.log_in_again()

    assert reset(client, reset_link).status_code == 204

    assert (person.status, elsewhere.status) == (401, 401)
    body = {"refresh_token": person.refresh_token}
    assert client.post("/auth/refresh", json=body).status_code == 401
    assert reset(client, reset_link, "yet another phrase").status_code == 410
    old = {"email": person.email, "password": PASSWORD}
    assert client.post("/auth/login", json=old).status_code == 401
    new = log_in(client, person.email, NEW_PASSWORD)
    assert new.request("GET", "/auth/me").json()["is_verified"] is True
    wait_for(lambda: mailboxes.find_emails(person.id, "password was changed"))


def test_the_page_of_a_link_is_gone_once_the_link_is_used(
    client: TestClient, person: Person, reset_link: str
) -> None:
    page = client.get("/auth/reset-password", params={"token": reset_link})
    reset(client, reset_link)
    gone = client.get("/auth/reset-password", params={"token": reset_link})

    assert page.headers["content-type"].startswith("text/html")
    assert "<form" in page.text
    assert page.headers["referrer-policy"] == "no-referrer"
    assert gone.status_code == 410


def test_a_rejected_password_does_not_use_up_the_link(client: TestClient, reset_link: str) -> None:
    refused = reset(client, reset_link, "short")

    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "new_password")
    assert reset(client, reset_link).status_code == 204


def test_a_link_works_only_for_its_purpose(
    client: TestClient, person: Person, reset_link: str, mailboxes: Mailboxes
) -> None:
    for_verification = mailboxes.wait_for_link(person.id, "confirm")

    wrong = [
        verify(client, reset_link),
        reset(client, for_verification),
        verify(client, person.refresh_token),
        reset(client, person.access_token),
        reset(client, reset_link[:-1]),
    ]

    assert {answer.status_code for answer in wrong} == {410}
    assert person.status == 200


def test_a_link_expires(client: TestClient, person: Person, reset_link: str, sql: SQL) -> None:
    sql("UPDATE mails SET link_expires_at = now() WHERE user_id = :id", id=person.id)

    assert reset(client, reset_link).status_code == 410


@pytest.mark.parametrize("change", ["by another link", "in person", "address"])
def test_a_link_is_withdrawn_when_it_is_replaced_or_no_longer_applies(
    client: TestClient, person: Person, admin: Person, mailboxes: Mailboxes, reset_link: str,
    change: str,
) -> None:  # fmt: skip
    if change == "by another link":
        request_reset(client, person.email)
        newer = wait_for(lambda: mailboxes.wait_for_link(person.id, "new password") != reset_link)
        assert (
            newer and reset(client, mailboxes.wait_for_link(person.id, "new password")).is_success
        )
    elif change == "in person":
        body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
        assert person.request("POST", "/auth/change-password", json=body).is_success
    else:
        body = {"email": f"{uuid4()}@example.com"}
        assert admin.request("PATCH", f"/users/{person.id}", json=body).is_success

    assert reset(client, reset_link, "yet another phrase").status_code == 410


def test_a_new_address_must_be_verified_again(
    client: TestClient, person: Person, admin: Person, mailboxes: Mailboxes
) -> None:
    old_link = mailboxes.wait_for_link(person.id, "confirm")
    verify(client, old_link)
    change = {"email": f"{uuid4()}@example.com"}

    changed = admin.request("PATCH", f"/users/{person.id}", json=change).json()

    assert changed["is_verified"] is False
    wait_for(lambda: mailboxes.wait_for_link(person.id, "confirm") != old_link)
    assert verify(client, mailboxes.wait_for_link(person.id, "confirm")).status_code == 200


def test_a_deactivated_user_cannot_reset_their_password(
    client: TestClient, person: Person, admin: Person, reset_link: str
) -> None:
    admin.request("PATCH", f"/users/{person.id}", json={"is_active": False})

    assert reset(client, reset_link).status_code == 410


def test_links_are_neither_stored_nor_returned_nor_logged(
    client: TestClient,
    person: Person,
    reset_link: str,
    mailboxes: Mailboxes,
    sql: SQL,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    verification = mailboxes.wait_for_link(person.id, "confirm")
    answers = [
        request_reset(client, person.email),
        client.get("/auth/reset-password", params={"token": reset_link}),
        reset(client, reset_link),
        reset(client, reset_link),
        client.get("/auth/verify-email", params={"token": verification}),
    ]

    stored = str(sql("SELECT mails::text FROM mails")) + str(sql("SELECT * FROM audit_events"))
    written = capfd.readouterr()
    everything = stored + caplog.text + written.out + written.err + "".join(a.text for a in answers)
    for token in (reset_link, verification):
        assert token not in everything
    assert NEW_PASSWORD not in everything


def test_access_tokens_end_with_a_password_reset_but_delegated_ones_do_not(
    client: TestClient, person: Person, reset_link: str, service_token: Callable[..., str]
) -> None:
    acting = service_token("workflow-service", person.id)

    reset(client, reset_link)

    # A service continues what the user has started; its token is not a login.
    assert (person.status, validate(client, acting).status_code) == (401, 200)


def test_the_owner_of_a_mailbox_removes_what_a_squatter_left_in_the_account(
    client: TestClient, person: Person, mailboxes: Mailboxes
) -> None:
    """The address was never verified, so the app, the phone and the rest may be someone else's."""
    secret = person.request("POST", "/auth/mfa/totp").json()["secret"]
    code = {"code": pyotp.TOTP(secret).now()}
    assert person.request("POST", "/auth/mfa/totp/confirm", json=code).is_success
    left = {"phone": "+4915112345678", "push_tokens": ["of the squatter"]}
    assert person.request("PATCH", f"/users/{person.id}/profile", json=left).is_success

    request_reset(client, person.email)
    assert reset(client, mailboxes.wait_for_link(person.id, "new password")).status_code == 204

    owner = log_in(client, person.email, NEW_PASSWORD)
    contact = owner.request("GET", f"/users/{owner.id}/contact").json()
    assert (contact["phone"], contact["push_tokens"]) == (None, [])


def test_a_second_factor_on_a_verified_account_outlives_a_reset(
    client: TestClient, person: Person, mailboxes: Mailboxes
) -> None:
    """Access to the mailbox alone is not enough to log in."""
    assert verify(client, mailboxes.wait_for_link(person.id, "confirm")).status_code == 200
    secret = person.request("POST", "/auth/mfa/totp").json()["secret"]
    code = {"code": pyotp.TOTP(secret).now()}
    assert person.request("POST", "/auth/mfa/totp/confirm", json=code).is_success

    request_reset(client, person.email)
    assert reset(client, mailboxes.wait_for_link(person.id, "new password")).status_code == 204

    credentials = {"email": person.email, "password": NEW_PASSWORD}
    assert "challenge" in client.post("/auth/login", json=credentials).json()


@pytest.mark.parametrize("kind", ["reset-password", "verify-email"])
def test_a_request_that_waits_for_the_account_does_not_lock_its_link(
    client: TestClient, person: Person, mailboxes: Mailboxes, kind: str
) -> None:
    """Otherwise two transactions with opposite lock orders could deadlock."""
    request_reset(client, person.email)
    reset_link = mailboxes.wait_for_link(person.id, "new password")
    verification = mailboxes.wait_for_link(person.id, "confirm")
    use = {
        "reset-password": lambda: reset(client, reset_link),
        "verify-email": lambda: verify(client, verification),
    }[kind]

    with separate_connection() as connection, ThreadPoolExecutor(1) as thread:
        connection.execute(text("SELECT 1 FROM users WHERE id = :id FOR UPDATE"), {"id": person.id})
        used = thread.submit(use)
        wait_until_blocked(connection)
        of_mails = "SELECT 1 FROM mails WHERE user_id = :id FOR UPDATE NOWAIT"
        connection.execute(text(of_mails), {"id": person.id})
        connection.rollback()

        assert used.result().is_success
