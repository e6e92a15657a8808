"""The neighbour services, in memory: identity, content and communication."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from tools.localdev.fake_identity import FakeIdentity

PROSE = (
    "The mill race feeds the old wheel. The wheel has not turned since the flood of 1998."
    " Closing the mill race saves the town the yearly repair of the sluice."
    " Some residents like the sound of the water."
    " The sluice of the mill race was repaired four times in ten years."
    " The council plans to close the mill race and to keep the wheel as a monument."
    " A footpath could follow the dry bed of the race."
)


@dataclass
class FakeContent:
    """Keeps documents in memory. A document is processed when it has been polled `pace` times."""

    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    levels: dict[tuple[str, str], str] = field(default_factory=dict)  # by document and user
    asked: dict[str, int] = field(default_factory=dict)
    pace: int = 2
    broken: set[str] = field(default_factory=set)

    def add(self, owner_id: str, body: str | None = PROSE, title: str = "Closing the mill") -> str:
        document_id = str(uuid4())
        self.documents[document_id] = {
            "id": document_id,
            "owner_id": owner_id,
            "title": title,
            "content_type": "text/plain",
            "filename": None,
            "size": len(body or ""),
            "sha256": "0" * 64,
            "version": 1,
            "tags": [],
            "body": body,
        }
        self.levels[document_id, owner_id] = "manage"
        return document_id

    def answer(self, request: httpx.Request, user_id: str) -> httpx.Response:
        _, document_id, *rest = request.url.path.removeprefix("/api/v1/").split("/")
        document = self.documents.get(document_id)
        if document is None or (document_id, user_id) not in self.levels:
            return problem(404, "There is no such document")
        match request.method, rest:
            case "GET", []:
                return httpx.Response(200, json=document)
            case "POST", ["process"]:
                self.asked[document_id] = 0
                return httpx.Response(202, json=self.processing(document))
            case "GET", ["processing"]:
                if document_id not in self.asked:
                    return problem(404, "The text of this document has not been requested yet")
                self.asked[document_id] += 1
                return httpx.Response(200, json=self.processing(document))
            case "GET", ["permissions", "effective"]:
                level = self.levels.get((document_id, request.url.params["user"]))
                return httpx.Response(200, json={"user_id": user_id, "level": level})
            case "PUT", ["permissions", person]:
                self.levels[document_id, person] = json.loads(request.content)["level"]
                return httpx.Response(200, json={})
        return problem(405, "Not here")

    def processing(self, document: dict[str, Any]) -> dict[str, Any]:
        is_broken = document["id"] in self.broken
        ready = self.asked[document["id"]] >= self.pace
        text = (document["body"] or PROSE) if ready and not is_broken else None
        return {
            "document_id": document["id"],
            "version": document["version"],
            "status": "failed" if is_broken else "done" if ready else "running",
            "error": "the file is damaged" if is_broken else None,
            "text": text,
            "word_count": len(text.split()) if text else None,
            "page_count": 1,
            "sha256": document["sha256"],
        }


@dataclass
class FakeCommunication:
    """Keeps notifications in memory; a repeated idempotency key gets the same answer again."""

    sent: dict[str, dict[str, Any]] = field(default_factory=dict)  # by idempotency key

    def answer(self, request: httpx.Request, user_id: str) -> httpx.Response:
        new = json.loads(request.content)
        key = request.headers["Idempotency-Key"]
        known = self.sent.get(key)
        if known and known["request"] != new:
            return problem(422, "This Idempotency-Key came before, with another request")
        self.sent.setdefault(key, {"id": str(uuid4()), "sender_id": user_id, "request": new,
                                   "trace_id": request.headers["X-Trace-ID"]})  # fmt: skip
        return httpx.Response(202, json={"id": self.sent[key]["id"], "status": "queued"})

    def to(self, user_id: str) -> list[dict[str, Any]]:
        return [n["request"] for n in self.sent.values() if n["request"]["recipient_id"] == user_id]


@dataclass
class Platform(httpx.AsyncBaseTransport):
    """Serves all neighbours through one transport. `before` may answer or delay a call."""

    identity: FakeIdentity = field(default_factory=FakeIdentity)
    content: FakeContent = field(default_factory=FakeContent)
    communication: FakeCommunication = field(default_factory=FakeCommunication)
    before: Callable[[httpx.Request], httpx.Response | None] = lambda _: None
    calls: list[httpx.Request] = field(default_factory=list)
    users: list[dict[str, Any]] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        if host == "identity-service" and request.url.path == "/api/v1/users":
            role = request.url.params["role"]
            found = [user for user in self.users if role in user["roles"]]
            return httpx.Response(200, json={"items": found, "next_cursor": None})
        if host == "identity-service":
            return await self.identity.handle_async_request(request)
        if request.url.path == "/health/live":
            return httpx.Response(200, json={})
        self.calls.append(request)
        if refused := await asyncio.to_thread(self.before, request):
            return refused
        token = request.headers["Authorization"].removeprefix("Bearer ")
        if token not in self.identity.answers:
            return problem(401, "Invalid or expired token")
        user_id = self.identity.answers[token]["user_id"]
        neighbour = self.content if host == "content-service" else self.communication
        return neighbour.answer(request, user_id)


def problem(status: int, detail: str) -> httpx.Response:
    return httpx.Response(status, json={"detail": detail})
