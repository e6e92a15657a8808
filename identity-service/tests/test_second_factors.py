"""The second factor: needed beside the password, each code once, and not to be guessed."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import sleep, time
from typing import Any

import pyotp
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from .conftest import (
    PASSWORD,
    Person,
    bearer,
    separate_connection,
    start_password_reset,
    validate,
    wait_until_blocked,
)

SQL = Callable[..., list[Any]]


@dataclass
class App:
    """An authenticator app; each code is of a later step than the previous one."""

    secret: str
    recovery_codes: list[str] = field(default_factory=list)
    step: int = field(default_factory=lambda: int(time()) // 30 - 2)

    def next_code(self) -> str:
        self.step += 1
        return pyotp.TOTP(self.secret).generate_otp(self.step)


def set_up_app(person: Person) -> App:
    if (left := 30 - time() % 30) < 3:  # the oldest valid code is about to expire
        sleep(left)
    answer = person.request("POST", "/auth/mfa/totp")
    assert answer.status_code == 200, answer.text
    return App(answer.json()["secret"])


def confirm(person: Person, code: str) -> Any:
    return person.request("POST", "/auth/mfa/totp/confirm", json={"code": code})


@pytest.fixture
def phone(person: Person) -> App:
    """An app with which the user's second factor is on; two of its codes are still valid."""
    app = set_up_app(person)
    app.recovery_codes = confirm(person, app.next_code()).json()["recovery_codes"]
    return app


def log_in(client: TestClient, person: Person) -> Any:
    body = {"email": person.email, "password": PASSWORD}
    return client.post("/auth/login", json=body).json()


def answer_challenge(client: TestClient, challenge: str, code: str) -> Any:
    return client.post("/auth/mfa/verify", json={"challenge": challenge, "code": code})


def test_the_secret_for_an_app_comes_as_text_and_as_a_qr_code(person: Person) -> None:
    given = person.request("POST", "/auth/mfa/totp").json()

    assert pyotp.parse_uri(given["uri"]).secret == given["secret"]
    assert given["qr_code"].startswith("data:image/svg+xml")


def test_the_secret_of_an_app_is_stored_sealed(person: Person, phone: App, sql: SQL) -> None:
    (stored,) = sql(
        "SELECT second_factors::text FROM second_factors WHERE user_id = :i", i=person.id
    )

    assert phone.secret not in str(stored)


def test_without_the_sealing_key_recovery_codes_still_work(
    client: TestClient, person: Person, phone: App, sql: SQL
) -> None:
    sql(
        "UPDATE second_factors SET sealed_secret = 'of another key' WHERE user_id = :i", i=person.id
    )
    challenge = log_in(client, person)["challenge"]

    assert answer_challenge(client, challenge, phone.next_code()).status_code == 401
    assert answer_challenge(client, challenge, phone.recovery_codes[0]).status_code == 200


def test_a_login_needs_the_password_and_a_code(
    client: TestClient, person: Person, phone: App
) -> None:
    first = log_in(client, person)

    assert first.keys() == {"mfa_required", "challenge", "expires_in"}
    wrong = answer_challenge(client, first["challenge"], "000000")
    right = answer_challenge(client, first["challenge"], phone.next_code())
    again = answer_challenge(client, first["challenge"], phone.next_code())

    assert (wrong.status_code, right.status_code, again.status_code) == (401, 200, 401)
    assert validate(client, right.json()["access_token"]).json()["user_id"] == person.id


def test_the_second_factor_is_off_until_a_code_is_confirmed(
    client: TestClient, person: Person
) -> None:
    set_up_app(person)

    assert "access_token" in log_in(client, person)
    assert confirm(person, "000000").status_code == 401
    assert "access_token" in log_in(client, person)


def test_enabling_the_second_factor_ends_all_other_sessions(person: Person) -> None:
    elsewhere = person.log_in_again()

    app = set_up_app(person)
    answered = confirm(person, app.next_code())

    assert answered.status_code == 200
    assert (person.status, elsewhere.status) == (200, 401)
    assert person.request("POST", "/auth/mfa/totp").json()["code"] == "SecondFactorEnabled"
    assert confirm(person, app.next_code()).json()["code"] == "SecondFactorEnabled"


def test_a_code_works_once(client: TestClient, person: Person, phone: App) -> None:
    code = phone.next_code()
    assert answer_challenge(client, log_in(client, person)["challenge"], code).status_code == 200

    assert answer_challenge(client, log_in(client, person)["challenge"], code).status_code == 401


def test_an_old_or_early_code_is_rejected(client: TestClient, person: Person, phone: App) -> None:
    challenge = log_in(client, person)["challenge"]
    totp = pyotp.TOTP(phone.secret)
    step = int(time()) // 30

    for off in (-10, -3, 3, 10):
        assert answer_challenge(client, challenge, totp.generate_otp(step + off)).status_code == 401


def test_a_recovery_code_works_once_instead_of_a_code(
    client: TestClient, person: Person, phone: App, sql: SQL
) -> None:
    assert len(set(phone.recovery_codes)) == 10
    spare = phone.recovery_codes[3]

    first = answer_challenge(client, log_in(client, person)["challenge"], spare.upper())
    second = answer_challenge(client, log_in(client, person)["challenge"], spare)

    assert (first.status_code, second.status_code) == (200, 401)
    stored = str(sql("SELECT second_factors::text FROM second_factors"))
    assert not any(code.replace("-", "") in stored for code in phone.recovery_codes)


def test_new_recovery_codes_replace_the_old_ones(
    client: TestClient, person: Person, phone: App
) -> None:
    new = person.request("POST", "/auth/mfa/recovery-codes").json()["recovery_codes"]

    challenge = log_in(client, person)["challenge"]
    assert answer_challenge(client, challenge, phone.recovery_codes[0]).status_code == 401
    assert answer_challenge(client, challenge, new[0]).status_code == 200


def test_codes_cannot_be_guessed_and_a_lockout_ends_the_challenge(
    client: TestClient, person: Person, phone: App
) -> None:
    challenge = log_in(client, person)["challenge"]

    guesses = [answer_challenge(client, challenge, f"00000{n}") for n in range(7)]

    assert [guess.status_code for guess in guesses] == [401] * 5 + [429, 401]
    seconds = guesses[5].headers["Retry-After"]
    assert int(seconds) <= 60
    assert f"Too many failed attempts; try again in {seconds} second" in guesses[5].json()["detail"]
    assert answer_challenge(client, challenge, phone.next_code()).status_code == 401
    # Attempts are counted per user, over all networks and challenges.
    assert (
        answer_challenge(client, log_in(client, person)["challenge"], phone.next_code()).status_code
        == 429
    )


@pytest.mark.parametrize("event", ["expiry", "deactivation", "new password"])
def test_a_challenge_ends(
    client: TestClient, person: Person, admin: Person, phone: App, sql: SQL, event: str
) -> None:
    challenge = log_in(client, person)["challenge"]
    if event == "expiry":
        sql("UPDATE challenges SET expires_at = now() WHERE user_id = :id", id=person.id)
    elif event == "deactivation":
        admin.request("PATCH", f"/users/{person.id}", json={"is_active": False})
    else:
        change = {"current_password": PASSWORD, "new_password": "another long password"}
        assert person.request("POST", "/auth/change-password", json=change).is_success

    assert answer_challenge(client, challenge, phone.next_code()).status_code == 401


def test_a_challenge_answered_while_its_account_is_deactivated_is_over(
    client: TestClient, person: Person, phone: App
) -> None:
    challenge = log_in(client, person)["challenge"]

    with separate_connection() as connection, ThreadPoolExecutor(1) as thread:
        deactivate = "UPDATE users SET is_active = false WHERE id = :id"
        connection.execute(text(deactivate), {"id": person.id})
        answered = thread.submit(answer_challenge, client, challenge, phone.next_code())
        wait_until_blocked(connection)
        connection.commit()

        assert answered.result().status_code == 401


def test_a_confirmation_during_a_password_reset_enables_nothing(person: Person) -> None:
    code = set_up_app(person).next_code()

    with separate_connection() as connection, ThreadPoolExecutor(1) as thread:
        start_password_reset(connection, person)
        confirmed = thread.submit(confirm, person, code)
        wait_until_blocked(connection)
        connection.commit()

        assert confirmed.result().status_code == 401


def test_a_disabled_second_factor_is_not_needed(
    client: TestClient, person: Person, phone: App
) -> None:
    assert person.request("DELETE", "/auth/mfa/totp").status_code == 204

    assert "access_token" in log_in(client, person)
    assert (
        person.request("POST", "/auth/mfa/recovery-codes").json()["code"]
        == "SecondFactorNotEnabled"
    )


def test_an_administrator_disables_the_second_factor_of_a_user(
    client: TestClient, person: Person, other: Person, admin: Person, phone: App
) -> None:
    path = f"/users/{person.id}/mfa"

    assert other.request("DELETE", path).status_code == 403
    assert admin.request("DELETE", path).status_code == 204

    assert "access_token" in log_in(client, person)


def test_a_refresh_needs_no_code(client: TestClient, person: Person, phone: App) -> None:
    body = {"refresh_token": person.refresh_token}

    tokens = client.post("/auth/refresh", json=body).json()

    me = client.get("/auth/me", headers=bearer(tokens["access_token"]))
    assert me.status_code == 200
