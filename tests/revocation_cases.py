"""Subjects whose tokens are revoked, the events that do it, and the table in docs/revocation.md."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pyotp
import pytest

from tools.localdev.services import ROOT

from .users import (
    Person,
    Stack,
    create_api_key,
    eventually,
    get_mails,
    get_service_token,
    log_in,
    send_request,
)

Cell = tuple[str, str]  # what a token is, and the service to which it is shown

TIMEOUT_SECONDS = 10.0

PASSWORD = "a password of the tests"
NEW_PASSWORD = "another password of the tests"
# A route of each service that asks for a permission.
GUARDED_PATHS = {
    "identity": ("/users", "users:read"),
    "content": ("/documents", "documents:read"),
    "communication": ("/templates", "templates:read"),
    "workflow": ("/definitions", "definitions:read"),
}
ACCESS = "access token"
REFRESH = "refresh token"
KEY = "API key"
DELEGATED = "token on behalf of the person"
STATUS = {"stays": 200, "ends": 401, "loses the right": 403}


@dataclass
class Subject:
    """Holds a user with one role, two logins, an API key and a delegated token."""

    admin: Person
    role: str
    here: Person
    elsewhere: Person
    key: Person
    acting: Person

    def get_person(self, kind: str) -> Person:
        """Return the caller with that kind of token."""
        return {ACCESS: self.here, KEY: self.key, DELEGATED: self.acting}[kind]

    @property
    def path(self) -> str:
        return f"/users/{self.here.user_id}"

    @property
    def session(self) -> str:
        """Return the path of the session to revoke, which is not the current one."""
        sessions = self.elsewhere.get("identity", "/auth/sessions")["items"]
        return next(f"/auth/sessions/{s['id']}" for s in sessions if not s["is_current"])

    def administer(self, method: str, path: str, **change: object) -> httpx.Response:
        return self.admin.request(method, "identity", path, json=change)


def create_subject(stack: Stack, admin: Person) -> Subject:
    name = f"role-{uuid4().hex}"
    permissions = [permission for _, permission in GUARDED_PATHS.values()]
    admin.post("identity", "/roles", json={"name": name, "permissions": permissions})
    email = f"{uuid4().hex}@example.com"
    new = {"email": email, "password": PASSWORD, "name": "Tess Tester", "roles": [name]}
    admin.post("identity", "/users", json=new)
    # The mail with the link is delivered while the rest is prepared.
    send_request(stack, "POST", "identity", "/api/v1/auth/forgot-password", json={"email": email})
    here, elsewhere = (log_in(stack, email, PASSWORD) for _ in range(2))
    acting = get_service_token(stack, "workflow", here.user_id)
    return Subject(admin, name, here, elsewhere, create_api_key(here, permissions), acting)


def change_password(subject: Subject) -> httpx.Response:
    change = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    return subject.elsewhere.request("POST", "identity", "/auth/change-password", json=change)


def reset_password(subject: Subject) -> httpx.Response:
    stack = subject.here.stack
    [mail] = eventually(lambda: get_mails(stack, subject.here.email, "/auth/reset-password"))
    [token] = re.findall(r"token=([\w-]+)", mail["text"])
    reset = {"token": token, "new_password": NEW_PASSWORD}
    return send_request(stack, "POST", "identity", "/api/v1/auth/reset-password", json=reset)


def turn_on_second_factor(subject: Subject) -> httpx.Response:
    secret = subject.elsewhere.post("identity", "/auth/mfa/totp")["secret"]
    code = {"code": pyotp.TOTP(secret).now()}
    return subject.elsewhere.request("POST", "identity", "/auth/mfa/totp/confirm", json=code)


def lock(subject: Subject) -> httpx.Response:
    until = datetime.now(UTC) + timedelta(hours=1)
    return subject.administer("PATCH", subject.path, locked_until=until.isoformat())


EVENTS: dict[str, Callable[[Subject], httpx.Response]] = {
    "logout": lambda s: s.here.request("POST", "identity", "/auth/logout"),
    "session revoked": lambda s: s.elsewhere.request("DELETE", "identity", s.session),
    "all sessions revoked": lambda s: s.elsewhere.request("DELETE", "identity", "/auth/sessions"),
    "password changed": change_password,
    "password reset": reset_password,
    "second factor turned on": turn_on_second_factor,
    "deactivated": lambda s: s.administer("PATCH", s.path, is_active=False),
    "deleted": lambda s: s.admin.request("DELETE", "identity", s.path),
    "locked": lock,
    "role removed": lambda s: s.administer("PUT", f"{s.path}/roles", roles=[]),
    "permission removed from a role": lambda s: s.administer(
        "PATCH", f"/roles/{s.role}", permissions=[]
    ),
}


def read_table() -> dict[str, dict[Cell, int]]:
    """Read the table: for each event, the status of each kind of token at each service."""
    lines = (ROOT / "docs" / "revocation.md").read_text().splitlines()
    [_, *kinds], *rows = [line.strip("| ").split(" | ") for line in lines if " | " in line]
    return {
        event: {
            (kind, service): STATUS[word]
            for kind, word in zip(kinds, words, strict=True)
            for service in (["identity"] if kind == REFRESH else GUARDED_PATHS)
        }
        for event, *words in rows
    }


TABLE = read_table()
CELLS = [(event, cell) for event, cells in TABLE.items() for cell in cells]
FEED_CELLS = [  # what a service learns from the change feed
    (event, cell)
    for event, cell in CELLS
    if cell[1] != "identity" and TABLE[event][cell] != STATUS["stays"]
]


def for_each(cells: list[tuple[str, Cell]]) -> pytest.MarkDecorator:
    names = [f"{event}: {kind} at {service}" for event, (kind, service) in cells]
    return pytest.mark.parametrize(("event", "cell"), cells, ids=names)


@dataclass(frozen=True)
class Seen:
    """Holds the last status of a token, and when it was last accepted and first refused."""

    status: int
    good_until: float
    refused_after: float


@dataclass
class Watch:
    """Polls the tokens of a subject; `request_status` returns the status of a request."""

    subject: Subject
    request_status: Callable[[Person, str], int]

    def get_status(self, cell: Cell) -> int:
        kind, service = cell
        if kind == REFRESH:
            body = {"refresh_token": self.subject.here.refresh_token}
            path = "/api/v1/auth/refresh"
            return send_request(
                self.subject.here.stack, "POST", service, path, json=body
            ).status_code
        return self.request_status(self.subject.get_person(kind), service)

    def poll_until(self, cell: Cell, expected: int, since: float) -> Seen:
        """Poll until the expected status; a busy machine may see a refusal late."""
        good_until = 0.0
        refused_after = TIMEOUT_SECONDS
        passed = 0.0
        while passed < TIMEOUT_SECONDS:
            passed = time.monotonic() - since
            status = self.get_status(cell)
            if status == STATUS["stays"]:
                good_until = passed
            else:
                refused_after = min(refused_after, passed)
            if status == expected:
                break
            time.sleep(0.01)
        return Seen(status, good_until, refused_after)


def trigger(event: str, subject: Subject) -> float:
    """Cause the event, and return the time."""
    assert EVENTS[event](subject).is_success
    return time.monotonic()
