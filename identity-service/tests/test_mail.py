"""Mails: what they are sent for, that none is lost, and that a link opens one thing once."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from time import perf_counter
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
    aside,
    eventually,
    log_in,
    validate,
    wait_until_held_up,
)

SQL = Callable[..., list[Any]]
NEW_PASSWORD = "a quite different phrase"


def forgot(client: TestClient, email: str) -> Any:
    return client.post("/auth/forgot-password", json={"email": email})


def reset(client: TestClient, token: str, password: str = NEW_PASSWORD) -> Any:
    return client.post("/auth/reset-password", json={"token": token, "new_password": password})


def verify(client: TestClient, token: str) -> Any:
    return client.post("/auth/verify-email", json={"token": token})


@pytest.fixture
def reset_link(client: TestClient, person: Person, mailboxes: Mailboxes) -> str:
    forgot(client, person.email)
    return mailboxes.link_of(person.id, "new password")


@pytest.fixture
def without_communication(mailboxes: Mailboxes) -> Iterator[None]:
    mailboxes.down = True
    yield
    mailboxes.down = False


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_link_verifies_the_address_once(
    client: TestClient, person: Person, mailboxes: Mailboxes, method: str
) -> None:
    token = mailboxes.link_of(person.id, "confirm")
    follow = {"GET": {"params": {"token": token}}, "POST": {"json": {"token": token}}}[method]

    first = client.request(method, "/auth/verify-email", **follow)  # type: ignore[arg-type]
    second = client.request(method, "/auth/verify-email", **follow)  # type: ignore[arg-type]

    assert (first.status_code, second.status_code) == (200, 410)
    assert second.json()["code"] == "InvalidLink"
    assert person.request("GET", "/auth/me").json()["is_verified"] is True


def test_a_link_sets_a_new_password_once_and_ends_every_session(
    client: TestClient, person: Person, reset_link: str, mailboxes: Mailboxes
) -> None:
    elsewhere = person.again()

    assert reset(client, reset_link).status_code == 204

    assert (person.status, elsewhere.status) == (401, 401)
    body = {"refresh_token": person.refresh_token}
    assert client.post("/auth/refresh", json=body).status_code == 401
    assert reset(client, reset_link, "yet another phrase").status_code == 410
    old = {"email": person.email, "password": PASSWORD}
    assert client.post("/auth/login", json=old).status_code == 401
    new = log_in(client, person.email, NEW_PASSWORD)
    assert new.request("GET", "/auth/me").json()["is_verified"] is True
    eventually(lambda: mailboxes.of(person.id, "password was changed"))


def test_the_link_leads_to_a_page_that_is_gone_with_it(
    client: TestClient, person: Person, reset_link: str
) -> None:
    page = client.get("/auth/reset-password", params={"token": reset_link})
    reset(client, reset_link)
    gone = client.get("/auth/reset-password", params={"token": reset_link})

    assert page.headers["content-type"].startswith("text/html")
    assert "<form" in page.text
    assert page.headers["referrer-policy"] == "no-referrer"
    assert gone.status_code == 410


def test_a_password_that_is_refused_does_not_use_up_the_link(
    client: TestClient, reset_link: str
) -> None:
    refused = reset(client, reset_link, "short")

    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "new_password")
    assert reset(client, reset_link).status_code == 204


def test_a_link_opens_what_it_is_for_and_nothing_else(
    client: TestClient, person: Person, reset_link: str, mailboxes: Mailboxes
) -> None:
    for_verification = mailboxes.link_of(person.id, "confirm")

    wrong = [
        verify(client, reset_link),
        reset(client, for_verification),
        verify(client, person.refresh_token),
        reset(client, person.access_token),
        reset(client, reset_link[:-1]),
    ]

    assert {answer.status_code for answer in wrong} == {410}
    assert person.status == 200


def test_a_link_is_good_for_a_while_only(
    client: TestClient, person: Person, reset_link: str, sql: SQL
) -> None:
    sql("UPDATE mails SET link_expires_at = now() WHERE user_id = :id", id=person.id)

    assert reset(client, reset_link).status_code == 410


@pytest.mark.parametrize("change", ["by another link", "in person", "address"])
def test_a_link_is_withdrawn_by_what_it_would_overtake(
    client: TestClient, person: Person, admin: Person, mailboxes: Mailboxes, reset_link: str,
    change: str,
) -> None:  # fmt: skip
    if change == "by another link":
        forgot(client, person.email)
        newer = eventually(lambda: mailboxes.link_of(person.id, "new password") != reset_link)
        assert newer and reset(client, mailboxes.link_of(person.id, "new password")).is_success
    elif change == "in person":
        body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
        assert person.request("POST", "/auth/change-password", json=body).is_success
    else:
        body = {"email": f"{uuid4()}@example.com"}
        assert admin.request("PATCH", f"/users/{person.id}", json=body).is_success

    assert reset(client, reset_link, "yet another phrase").status_code == 410


def test_a_new_address_has_to_be_verified_anew(
    client: TestClient, person: Person, admin: Person, mailboxes: Mailboxes
) -> None:
    old_link = mailboxes.link_of(person.id, "confirm")
    verify(client, old_link)
    change = {"email": f"{uuid4()}@example.com"}

    changed = admin.request("PATCH", f"/users/{person.id}", json=change).json()

    assert changed["is_verified"] is False
    eventually(lambda: mailboxes.link_of(person.id, "confirm") != old_link)
    assert verify(client, mailboxes.link_of(person.id, "confirm")).status_code == 200


def test_somebody_deactivated_or_locked_resets_nothing(
    client: TestClient, person: Person, admin: Person, reset_link: str
) -> None:
    admin.request("PATCH", f"/users/{person.id}", json={"is_active": False})

    assert reset(client, reset_link).status_code == 410


def test_links_are_neither_stored_nor_answered_nor_logged(
    client: TestClient,
    person: Person,
    reset_link: str,
    mailboxes: Mailboxes,
    sql: SQL,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    verification = mailboxes.link_of(person.id, "confirm")
    answers = [
        forgot(client, person.email),
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


@pytest.mark.parametrize("path", ["forgot-password", "resend-verification"])
def test_who_asks_for_a_mail_does_not_learn_whether_the_address_is_known(
    person: Person, from_network: Callable[[str], TestClient], path: str
) -> None:
    def asked(client: TestClient, email: str) -> tuple[float, Any]:
        started = perf_counter()
        answer = client.post(f"/auth/{path}", json={"email": email})
        return perf_counter() - started, (answer.status_code, answer.json())

    def difference() -> float:
        client = from_network(str(uuid4()))  # none asks too often
        pairs = [
            (asked(client, person.email), asked(client, f"{uuid4()}@example.com"))
            for _ in range(50)
        ]
        assert len({str(answer) for pair in pairs for _, answer in pair}) == 1
        known, unknown = (median(took for took, _ in side) for side in zip(*pairs, strict=True))
        return float(abs(known - unknown))

    # What else the machine does is gone the next time; what gives an address away is not.
    assert any(difference() < 0.010 for _ in range(5))


def test_a_stranger_cannot_fill_somebodys_mailbox(
    client: TestClient, person: Person, sql: SQL
) -> None:
    for _ in range(8):
        assert forgot(client, person.email).status_code == 202

    written = "SELECT 1 FROM mails WHERE user_id = :id AND kind = 'reset-password'"
    assert len(sql(written, id=person.id)) == 5


def test_a_stranger_who_asks_for_all_mails_keeps_nobody_without_a_link(
    client: TestClient, person: Person, mailboxes: Mailboxes, sql: SQL
) -> None:
    """One is written again when the others are used up, or as old as their links get."""
    for _ in range(6):
        forgot(client, person.email)
    assert reset(client, mailboxes.link_of(person.id, "new password")).status_code == 204
    written = "SELECT 1 FROM mails WHERE user_id = :id AND kind = 'reset-password'"

    forgot(client, person.email)
    assert len(sql(written, id=person.id)) == 6
    half_an_hour_ago = "created_at = now() - interval '30 minutes', link_used_at = NULL"
    sql(f"UPDATE mails SET {half_an_hour_ago} WHERE user_id = :id", id=person.id)
    forgot(client, person.email)

    assert len(sql(written, id=person.id)) == 7


def test_who_is_verified_gets_no_second_link(client: TestClient, admin: Person, sql: SQL) -> None:
    client.post("/auth/resend-verification", json={"email": admin.email})

    written = "SELECT 1 FROM mails WHERE user_id = :id AND kind = 'verify-email'"
    assert sql(written, id=admin.id) == []


def test_links_go_to_the_mailbox_alone(person: Person, mailboxes: Mailboxes) -> None:
    mailboxes.link_of(person.id, "confirm")

    (mail,) = mailboxes.of(person.id, "confirm")

    assert (mail["channels"], mail["category"]) == (["email"], "security")


def test_a_login_with_a_new_device_is_told(
    client: TestClient, person: Person, mailboxes: Mailboxes
) -> None:
    credentials = {"email": person.email, "password": PASSWORD}
    for device in ("testclient", "Lynx/2.9", "Lynx/2.9"):
        client.post("/auth/login", json=credentials, headers={"User-Agent": device})

    (mail,) = eventually(lambda: mailboxes.of(person.id, "new device"))

    assert "Lynx/2.9" in mail["body"]
    assert mail["channels"] == ["email", "in_app"]


def test_reuse_of_a_refresh_token_is_told(
    client: TestClient, person: Person, mailboxes: Mailboxes
) -> None:
    token = person.refresh_token
    for _ in range(2):
        token = client.post("/auth/refresh", json={"refresh_token": token}).json()["refresh_token"]
    client.post("/auth/refresh", json={"refresh_token": person.refresh_token})

    (mail,) = eventually(lambda: mailboxes.of(person.id, "ended one of your sessions"))

    assert mail["channels"] == ["email", "in_app"]


def test_nothing_is_lost_while_communication_is_down(
    client: TestClient, person: Person, mailboxes: Mailboxes, sql: SQL, without_communication: None
) -> None:
    """An hour of it: the mail waits, and so does the clock of its link."""
    assert forgot(client, person.email).status_code == 202
    waiting = """
        SELECT 1 FROM mails WHERE user_id = :id AND kind = 'reset-password'
        AND status = 'pending' AND last_error IS NOT NULL
    """
    eventually(lambda: sql(waiting, id=person.id))
    an_hour_ago = "UPDATE mails SET created_at = created_at - interval '1 hour',"
    sql(f"{an_hour_ago} link_expires_at = now() WHERE user_id = :id", id=person.id)

    mailboxes.down = False
    sql("UPDATE mails SET run_at = now() WHERE user_id = :id", id=person.id)

    assert reset(client, mailboxes.link_of(person.id, "new password")).status_code == 204


def test_an_answer_that_is_lost_makes_no_second_mail(
    client: TestClient, person: Person, mailboxes: Mailboxes, sql: SQL
) -> None:
    mailboxes.link_of(person.id, "confirm")
    mailboxes.answers_get_lost, before = True, mailboxes.requests
    forgot(client, person.email)
    eventually(lambda: mailboxes.requests > before)
    mailboxes.answers_get_lost = False

    settled = "SELECT 1 FROM mails WHERE user_id = :id AND status = 'done'"
    eventually(lambda: len(sql(settled, id=person.id)) == 2)
    assert mailboxes.requests > before + 1
    assert len(mailboxes.of(person.id, "new password")) == 1


def test_what_a_killed_process_had_taken_is_taken_over(
    client: TestClient, person: Person, mailboxes: Mailboxes, sql: SQL, without_communication: None
) -> None:
    forgot(client, person.email)
    taken = """
        UPDATE mails SET status = 'running', lease_until = now() - interval '1 second',
        fence = fence + 1 WHERE user_id = :id AND kind = 'reset-password' RETURNING id
    """
    assert sql(taken, id=person.id)

    mailboxes.down = False

    mailboxes.link_of(person.id, "new password")


def test_a_token_of_before_a_reset_lets_nobody_in(
    client: TestClient, person: Person, reset_link: str, service: Callable[..., str]
) -> None:
    acting = service("workflow-service", person.id)

    reset(client, reset_link)

    # A service goes on with what the person has begun; it is not a login of theirs.
    assert (person.status, validate(client, acting).status_code) == (401, 200)


def test_who_owns_the_mailbox_gets_rid_of_what_a_squatter_left_in_the_account(
    client: TestClient, person: Person, mailboxes: Mailboxes
) -> None:
    """The address was never verified: the app that makes codes, the phone and all are another's."""
    secret = person.request("POST", "/auth/mfa/totp").json()["secret"]
    code = {"code": pyotp.TOTP(secret).now()}
    assert person.request("POST", "/auth/mfa/totp/confirm", json=code).is_success
    left = {"phone": "+4915112345678", "push_tokens": ["of the squatter"]}
    assert person.request("PATCH", f"/users/{person.id}/profile", json=left).is_success

    forgot(client, person.email)
    assert reset(client, mailboxes.link_of(person.id, "new password")).status_code == 204

    owner = log_in(client, person.email, NEW_PASSWORD)
    contact = owner.request("GET", f"/users/{owner.id}/contact").json()
    assert (contact["phone"], contact["push_tokens"]) == (None, [])


def test_a_second_factor_on_a_verified_account_outlives_a_reset(
    client: TestClient, person: Person, mailboxes: Mailboxes
) -> None:
    """A mailbox alone is not enough to come in."""
    assert verify(client, mailboxes.link_of(person.id, "confirm")).status_code == 200
    secret = person.request("POST", "/auth/mfa/totp").json()["secret"]
    code = {"code": pyotp.TOTP(secret).now()}
    assert person.request("POST", "/auth/mfa/totp/confirm", json=code).is_success

    forgot(client, person.email)
    assert reset(client, mailboxes.link_of(person.id, "new password")).status_code == 204

    credentials = {"email": person.email, "password": NEW_PASSWORD}
    assert "challenge" in client.post("/auth/login", json=credentials).json()


@pytest.mark.parametrize("kind", ["reset-password", "verify-email"])
def test_a_link_is_not_held_by_who_waits_for_its_account(
    client: TestClient, person: Person, mailboxes: Mailboxes, kind: str
) -> None:
    """Or two who do both at once, in another order, would wait for each other."""
    forgot(client, person.email)
    reset_link = mailboxes.link_of(person.id, "new password")
    verification = mailboxes.link_of(person.id, "confirm")
    use = {
        "reset-password": lambda: reset(client, reset_link),
        "verify-email": lambda: verify(client, verification),
    }[kind]

    with aside() as connection, ThreadPoolExecutor(1) as thread:
        connection.execute(text("SELECT 1 FROM users WHERE id = :id FOR UPDATE"), {"id": person.id})
        used = thread.submit(use)
        wait_until_held_up(connection)
        of_mails = "SELECT 1 FROM mails WHERE user_id = :id FOR UPDATE NOWAIT"
        connection.execute(text(of_mails), {"id": person.id})
        connection.rollback()

        assert used.result().is_success
