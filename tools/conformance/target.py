"""The service under test: the options of a run, its HTTP client, and what the checks expect."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal
from uuid import uuid4

import httpx
from pydantic import AnyHttpUrl, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from .openapi import Operation, list_operations

TIMEOUT_SECONDS = 8.0  # a service that takes longer is considered hung
PROBLEM_FIELDS = {"type", "title", "status", "detail", "trace_id"}

Level = Literal["open", "login", "outage"]
Action = Callable[[], object]


class Options(BaseSettings):
    """Reads the environment variables that `make conformance URL=... LEVEL=...` sets."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True)

    url: AnyHttpUrl
    level: Level = "login"
    identity: AnyHttpUrl = AnyHttpUrl("http://localhost:8001")
    caller: str = "admin@example.com"  # has every permission
    outsider: str = "outsider@example.com"  # has no permission
    password: str = "demo-password-1"
    # Path and JSON body of a POST that creates something. USER is replaced by the caller's id,
    # UNIQUE by a new value each time.
    create: Annotated[str, Field(pattern="^$|^/.* .*UNIQUE")] = ""
    origin: str = "http://localhost:3000"  # an allowed CORS origin
    away: str = "make stop S=identity-service"  # stops identity
    back: str = "make start S=identity-service"  # starts it again
    max_recovery_seconds: float = 30.0  # from identity's return until requests succeed again


class BrokenGuarantee(Exception):
    """Raised with what was seen instead when a guarantee is broken."""


class NotApplicable(Exception):
    """Raised with the reason when a guarantee does not apply to this service."""


class NotCheckable(Exception):
    """Raised with the reason when a guarantee that applies could not be checked."""


@dataclass(frozen=True)
class Person:
    """Represents a logged-in user."""

    user_id: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


class Service:
    """Sends requests to the service under test, and stops and starts identity."""

    def __init__(self, options: Options, stop_identity: Action, start_identity: Action) -> None:
        self.options = options
        self.stop_identity = stop_identity
        self.start_identity = start_identity
        self.client = httpx.Client(base_url=str(options.url), timeout=TIMEOUT_SECONDS)

    def close(self) -> None:
        self.client.close()

    def request(
        self, method: str, path: str, person: Person | None = None, **content: Any
    ) -> httpx.Response:
        headers = {**(person.headers if person else {}), **content.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **content)

    def get(self, path: str, person: Person | None = None, **content: Any) -> httpx.Response:
        return self.request("GET", path, person, **content)

    @cached_property
    def document(self) -> dict[str, Any]:
        response = self.get("/openapi.json")
        expect(response.status_code == 200, f"/openapi.json answers {response.status_code}")
        found: dict[str, Any] = response.json()
        return found

    @cached_property
    def operations(self) -> list[Operation]:
        """Operations of the API; health has guarantees of its own."""
        return [o for o in list_operations(self.document) if not o.path.startswith("/health")]

    @cached_property
    def caller(self) -> Person:
        return self.log_in(self.options.caller)

    @cached_property
    def outsider(self) -> Person:
        return self.log_in(self.options.outsider)

    def log_in(self, email: str) -> Person:
        credentials = {"email": email, "password": self.options.password}
        response = self.request_identity("login", json=credentials)
        if response.status_code != 200:
            raise NotCheckable(f"{email} cannot log in at {self.options.identity}")
        return Person(response.json()["user_id"], response.json()["access_token"])

    def log_out(self, person: Person) -> None:
        expect(self.request_identity("logout", headers=person.headers).is_success, "logout failed")

    def request_identity(self, order: str, **content: Any) -> httpx.Response:
        url = f"{str(self.options.identity).rstrip('/')}/api/v1/auth/{order}"
        return self.client.post(url, **content)

    @cached_property
    def is_identity(self) -> bool:
        return bool(self.get("/health").json().get("service") == "identity-service")

    @cached_property
    def readable_path(self) -> str:
        """Find a path that requires a token and that the caller may read."""
        for read in self.operations:
            is_candidate = read.is_plain_read and read.is_protected
            if is_candidate and self.get(read.path, self.caller).status_code == 200:
                return read.path
        raise NotApplicable("no GET without parameters requires a token and accepts the caller")

    @cached_property
    def create_operation(self) -> Operation:
        """Find a POST with an Idempotency-Key that accepts a generated body."""
        path = self.options.create.partition(" ")[0]
        refusal = "no such POST"
        for operation in self.operations:
            is_meant = operation.path == path if path else operation.needs_nothing
            takes_key = "idempotency-key" in operation.get_parameters("header")
            if is_meant and takes_key and operation.method == "POST":
                answer = self.send_create(operation, self.build_body(operation), uuid4().hex)
                if answer.is_success:
                    return operation
                refusal = f"{describe(answer)} {answer.text[:100]}"
        raise NotApplicable(f"no POST with an Idempotency-Key worked; set CREATE: {refusal}")

    def build_body(self, operation: Operation) -> Any:
        given = self.options.create.partition(" ")[2]
        for name, value in (("USER", self.caller.user_id), ("UNIQUE", uuid4().hex)):
            given = given.replace(name, value)
        return json.loads(given) if given else operation.build_example(self.caller.user_id)

    def send_create(self, operation: Operation, body: Any, key: str) -> httpx.Response:
        headers = {"Idempotency-Key": key}
        return self.request("POST", operation.path, self.caller, json=body, headers=headers)


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise BrokenGuarantee(otherwise)


def describe(response: httpx.Response) -> str:
    return f"{response.request.method} {response.request.url.path} -> {response.status_code}"


def expect_problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """Require a refusal with this status as application/problem+json, and return its body."""
    what = describe(response)
    expect(response.status_code == status, f"{what}, not {status}")
    media_type = response.headers.get("content-type", "")
    expect(media_type.startswith("application/problem+json"), f"{what} as {media_type}")
    body: dict[str, Any] = response.json()
    missing = sorted(PROBLEM_FIELDS - body.keys())
    expect(not missing, f"{what} without {missing}")
    expect(body["status"] == status, f"{what} with status {body['status']} in the body")
    expect(bool(body["detail"]), f"{what} with an empty detail")
    return body
