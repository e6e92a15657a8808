"""Reads who may call each route from each service's tests/policies.txt.

A line is a method, a path, who is allowed, and whether the path names an object of one person:

    GET /documents/{document_id}   documents:read, theirs

Allowed are `anybody`; everyone with a `token`; a `user` (not a service without a user); a `person`
(no service, not one on behalf of a user, no API key); everyone with the named permission; the user
in the path (`self`); a `service`. With `theirs`, others get a 404, except those with the permission
*; with `theirs alone`, they too. With `in person`, the caller must be a person.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Caller:
    """Represents a caller with or without a token; `user` is identity's answer about the token."""

    token: str = ""
    user: dict[str, Any] | None = None
    is_owner: bool = False
    is_key: bool = False

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def is_a(self, word: str) -> bool:
        """Return whether a word of a policy means this caller."""
        assert self.user is not None
        permissions = set(self.user["permissions"])
        is_service = "service" in self.user["roles"]
        meanings = {
            "token": True,
            "user": not is_service,
            "person": not (is_service or self.user["actor"] or self.is_key),
            "service": is_service,
            "self": self.is_owner,
        }
        return meanings.get(word, not permissions.isdisjoint({word, "*"}))


@dataclass(frozen=True)
class Policy:
    allowed: tuple[str, ...]
    theirs: str = ""
    in_person: bool = False

    @property
    def is_public(self) -> bool:
        return self.allowed == ("anybody",)

    def get_refusal(self, caller: Caller) -> int | None:
        """Return the status with which the caller is refused, or None."""
        if self.is_public:
            return None
        if caller.user is None:
            return 401
        if not any(map(caller.is_a, self.allowed)) or (
            self.in_person and not caller.is_a("person")
        ):
            return 403
        may_know = caller.is_owner or (caller.is_a("*") and self.theirs == "theirs")
        return 404 if self.theirs and not may_know else None


def read_policies(service: Path) -> dict[str, Policy]:
    """Read the policies of a service by route, such as "GET /documents"."""
    lines = (service / "tests" / "policies.txt").read_text().splitlines()
    return dict(parse_policy(line) for line in lines if line and not line.startswith("#"))


def parse_policy(line: str) -> tuple[str, Policy]:
    method, path, rule = line.split(maxsplit=2)
    let_in, *more = rule.split(", ")
    theirs = next((words for words in more if words.startswith("theirs")), "")
    return f"{method} {path}", Policy(tuple(let_in.split(" or ")), theirs, "in person" in more)
