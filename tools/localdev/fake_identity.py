"""A working identity service in memory, as an HTTPX transport, for the tests of any service.

app.state.transport = identity = FakeIdentity()
ada = identity.add_person("documents:write")
with TestClient(app) as client:
    client.post("/api/v1/documents", json=..., headers=ada.headers)
"""

import asyncio
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any
from urllib.parse import parse_qs

import httpx


@dataclass(frozen=True)
class Person:
    """Represents a user with a token; `headers` authenticate a request."""

    user_id: str
    email: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass
class FakeIdentity(httpx.AsyncBaseTransport):
    """Answers as identity does, unless `is_down`; `validations` counts calls to /auth/validate."""

    answers: dict[str, dict[str, Any]] = field(default_factory=dict)  # by token
    contacts: dict[str, dict[str, Any]] = field(default_factory=dict)  # by user id
    changes: list[dict[str, Any]] = field(default_factory=list)
    is_down: bool = False
    validations: int = 0

    def add_person(
        self, *permissions: str, roles: tuple[str, ...] = ("member",), actor: str | None = None,
        name: str = "Sam Sample", user_id: str | None = None,
    ) -> Person:  # fmt: skip
        """Add a user with these permissions, or another token for the user with this id."""
        user_id = user_id or str(uuid.uuid4())
        person = Person(user_id, f"{user_id[:8]}@example.com", f"token-{uuid.uuid4()}")
        expires_at = (datetime.now(UTC) + timedelta(minutes=15)).isoformat()
        self.answers[person.token] = {
            "valid": True, "user_id": user_id, "email": person.email, "actor": actor,
            "roles": list(roles), "permissions": list(permissions),
            "session_id": str(uuid.uuid4()), "expires_at": expires_at,
        }  # fmt: skip
        self.contacts[user_id] = {"user_id": user_id, "email": person.email, "name": name}
        return person

    def revoke(self, person: Person) -> None:
        """End the user's sessions and report it on the change feed."""
        self.answers = {t: a for t, a in self.answers.items() if a["user_id"] != person.user_id}
        seq = len(self.changes) + 1
        self.changes.append({"seq": seq, "user_id": person.user_id, "session_id": None})

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_down:
            raise httpx.ConnectError("identity is down", request=request)
        path = request.url.path.removeprefix("/api/v1")
        endpoints: dict[str, Callable[[httpx.Request], httpx.Response]] = {
            "/auth/validate": self._validate_token,
            "/auth/token": self._issue_token,
            "/users/contacts": self._list_contacts,
            "/health/live": lambda _: httpx.Response(200, json={"status": "alive"}),
        }
        if path == "/auth/changes":
            return await self._wait_for_changes(request.url.params)
        if path in endpoints:
            return endpoints[path](request)
        if path.startswith("/users/"):
            return self._get_user(*path.split("/")[2:])
        return self._get_role(path.removeprefix("/roles/"))

    def _validate_token(self, request: httpx.Request) -> httpx.Response:
        self.validations += 1
        answer = self.answers.get(request.headers["authorization"].removeprefix("Bearer "))
        if answer is None:
            return httpx.Response(401, json={"detail": "Invalid or expired token"})
        return httpx.Response(200, json=answer)

    def _issue_token(self, request: httpx.Request) -> httpx.Response:
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        user_id = form.get("on_behalf_of")
        known = [a for a in self.answers.values() if a["user_id"] == user_id]
        if user_id and not known:
            return httpx.Response(403, json={"detail": "This user is not active"})
        rights = known[0] if known else {"roles": ["service"], "permissions": []}
        actor = form["client_id"] if user_id else None
        roles = tuple(rights["roles"])
        person = self.add_person(*rights["permissions"], roles=roles, actor=actor, user_id=user_id)
        return httpx.Response(200, json={"access_token": person.token, "expires_in": 300})

    async def _wait_for_changes(self, params: httpx.QueryParams) -> httpx.Response:
        after = int(params.get("after", len(self.changes)))
        until = monotonic() + float(params.get("wait", 0))
        while len(self.changes) <= after and monotonic() < until and not self.is_down:
            await asyncio.sleep(0.02)
        feed = {"latest": len(self.changes), "reset": False, "changes": self.changes[after:]}
        return httpx.Response(200, content=json.dumps(feed))

    def _list_contacts(self, request: httpx.Request) -> httpx.Response:
        wanted = json.loads(request.content)["user_ids"]
        found = [self.contacts[user_id] for user_id in wanted if user_id in self.contacts]
        return httpx.Response(200, json={"items": found})

    def _get_user(self, user_id: str, part: str) -> httpx.Response:
        if user_id not in self.contacts:
            return httpx.Response(404, json={"detail": "There is no such user"})
        if part != "permissions":
            return httpx.Response(200, json=self.contacts[user_id])
        own = [a for a in self.answers.values() if a["user_id"] == user_id and not a["actor"]]
        rights = {name: own[-1][name] if own else [] for name in ("roles", "permissions")}
        return httpx.Response(200, json={"user_id": user_id, **rights})

    def _get_role(self, name: str) -> httpx.Response:
        if not any(name in answer["roles"] for answer in self.answers.values()):
            return httpx.Response(404, json={"detail": "There is no such role"})
        return httpx.Response(200, json={"name": name})
