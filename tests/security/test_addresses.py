"""Tests that a mailbox is one account, however its address is written."""

from uuid import uuid4

import httpx
import pytest

from ..users import PASSWORD, Stack, get_json, log_in, register, send_request

OTHER_PASSWORD = "a password of somebody else"

NO_ADDRESSES = {
    "another header": "{}@example.com\r\nBcc: eve@example.com",
    "another header, encoded": "{}@example.com%0d%0aBcc:eve@example.com",
    "another line": "{}@example.com\u2028eve@example.com",
    "another recipient": "{}@example.com,eve@example.com",
    "another recipient, later": "{}@example.com;eve@example.com",
    "a name": "Eve <{}@example.com>",
    "angle brackets": "<{}@example.com>",
    "a comment": "{}(eve)@example.com",
    "a quoted part": '"eve@example.com "{}@example.com',
    "two signs": "eve@example.com@{}.example.com",
    "a route": "@eve.example:{}@example.com",
    "a bang path": "eve.example!{}@example.com\x00",
    "a space inside": "{} @example.com",
    "no width": "{}\u200b@example.com",
    "from right to left": "{}\u202e@example.com",
    "a look-alike letter": "{}\u0430@example.com",
    "full width": "{}\uff41@example.com",
    "a ligature": "{}\ufb01@example.com",
    "a dot too many": "{}..x@example.com",
    "an address of a machine": "{}@[10.0.0.1]",
    "a machine without a domain": "{}@localhost",
    "a long domain": "{}@" + "x." * 120 + "com",
    "an endless one": "{}@" + "x" * 500_000,
}
SAME = {
    "capital letters": ("{}@example.com", "{}@EXAMPLE.Com"),
    "a domain in Unicode": ("{}@xn--bcher-kva.example.com", "{}@b\u00fccher.example.com"),
    "a letter in two parts": ("{}@b\u00fccher.example.com", "{}@bu\u0308cher.example.com"),
    "a dot of another script": ("{}@example.com", "{}@example\u3002com"),
}


def post(stack: Stack, path: str, **body: str) -> httpx.Response:
    return send_request(stack, "POST", "identity", f"/api/v1/auth/{path}", json=body)


@pytest.mark.parametrize("written", NO_ADDRESSES.values(), ids=list(NO_ADDRESSES))
def test_what_is_not_one_plain_address_is_refused(stack: Stack, written: str) -> None:
    email = written.format(uuid4().hex[:12])

    answers = [
        post(stack, "register", email=email, password=PASSWORD, name="Eve"),
        post(stack, "login", email=email, password=PASSWORD),
        post(stack, "forgot-password", email=email),
    ]

    for response in answers:
        assert response.status_code == 422
        assert {error["field"] for error in response.json()["errors"]} == {"email"}


@pytest.mark.parametrize(("first", "second"), SAME.values(), ids=list(SAME))
def test_an_address_is_one_account_however_it_is_written(
    stack: Stack, first: str, second: str
) -> None:
    name = uuid4().hex
    new = {"password": PASSWORD, "name": "Tess Tester"}
    get_json(post(stack, "register", email=first.format(name), **new))

    post(stack, "register", email=second.format(name.upper()), password=OTHER_PASSWORD, name="Eve")

    owner = log_in(stack, first.format(name), PASSWORD)
    assert log_in(stack, second.format(name.upper()), PASSWORD).user_id == owner.user_id
    stolen = post(stack, "login", email=second.format(name), password=OTHER_PASSWORD)
    assert stolen.status_code == 401


def test_a_name_is_one_line_in_every_mail(stack: Stack) -> None:
    person = register(stack)

    for name in ("Eve\r\nBcc: eve@example.com", "Eve\nBcc: eve@example.com", "Eve\u2028Bcc: e@x.y"):
        path = f"/users/{person.user_id}/profile"
        assert person.request("PATCH", "identity", path, json={"name": name}).status_code == 422
