"""Puts one fault at a time in front of content-service, each for a guarantee of the kit.

A fault gets a request and a function that forwards it, and changes the request or the answer.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @json.setter
    def json(self, value: Any) -> None:
        self.body = json.dumps(value).encode()


Ask = Callable[[httpx.Request], Awaitable[Answer]]
Fault = Callable[[httpx.Request, Ask], Awaitable[Answer]]

FAULTS: dict[str, Fault] = {}


def breaks(guarantee: str) -> Callable[[Fault], Fault]:
    def register(fault: Fault) -> Fault:
        FAULTS[guarantee] = fault
        return fault

    return register


def put_in_front(app: FastAPI, fault: Fault) -> Starlette:
    async def ask(request: httpx.Request) -> Answer:
        answered = await transport.handle_async_request(request)
        headers = {k: v for k, v in answered.headers.items() if k != "content-length"}
        return Answer(answered.status_code, headers, await answered.aread())

    async def answer(request: Request) -> Response:
        headers = request.headers.raw
        content = await request.body()
        url = str(request.url)
        passed_on = httpx.Request(request.method, url, headers=headers, content=content)
        given = await fault(passed_on, ask)
        return Response(given.body, given.status, given.headers)

    @asynccontextmanager
    async def started(_: Starlette) -> AsyncIterator[None]:
        async with app.router.lifespan_context(app):
            yield

    transport = httpx.ASGITransport(app)
    verbs = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    return Starlette(routes=[Route("/{path:path}", answer, methods=verbs)], lifespan=started)


async def pass_through(request: httpx.Request, ask: Ask) -> Answer:
    return await ask(request)


# -- level open ---------------------------------------------------------------------------------


@breaks("/health has the standard shape")
async def health_without_version(request: httpx.Request, ask: Ask) -> Answer:
    answer = await ask(request)
    if request.url.path == "/health":
        answer.json = {name: value for name, value in answer.json.items() if name != "version"}
    return answer


@breaks("liveness and readiness answer 200")
async def never_ready(request: httpx.Request, ask: Ask) -> Answer:
    answer = await ask(request)
    if request.url.path == "/health/ready":
        answer.status = 503
    return answer


@breaks("documentation works offline")
async def documentation_from_elsewhere(request: httpx.Request, ask: Ask) -> Answer:
    answer = await ask(request)
    if request.url.path == "/docs":
        answer.body += b'<script src="https://cdn.example.com/swagger.js"></script>'
    return answer


@breaks("OpenAPI describes a versioned API")
async def a_path_without_version(request: httpx.Request, ask: Ask) -> Answer:
    answer = await ask(request)
    if request.url.path == "/openapi.json":
        document = answer.json
        document["paths"]["/documents"] = {"get": {"responses": {}}}
        answer.json = document
    return answer


@breaks("401 without a valid token")
async def unauthenticated_in_html(request: httpx.Request, ask: Ask) -> Answer:
    return await in_html(request, ask, 401)


@breaks("404 for an unknown path")
async def not_found_in_html(request: httpx.Request, ask: Ask) -> Answer:
    return await in_html(request, ask, 404)


async def in_html(request: httpx.Request, ask: Ask, status: int) -> Answer:
    answer = await ask(request)
    if answer.status == status:
        answer.headers["content-type"] = "text/html"
    return answer


@breaks("trace ids are accepted and returned")
async def a_trace_id_of_its_own(request: httpx.Request, ask: Ask) -> Answer:
    answer = await ask(request)
    answer.headers["x-trace-id"] = uuid4().hex
    return answer


@breaks("CORS allows configured origins only")
async def any_origin(request: httpx.Request, ask: Ask) -> Answer:
    answer = await ask(request)
    answer.headers["access-control-allow-origin"] = request.headers.get("origin", "*")
    return answer


# -- level login --------------------------------------------------------------------------------


@breaks("403 without the permission")
async def forbidden_in_html(request: httpx.Request, ask: Ask) -> Answer:
    return await in_html(request, ask, 403)


@breaks("422 names the invalid field")
async def nameless_errors(request: httpx.Request, ask: Ask) -> Answer:
    answer = await ask(request)
    if answer.status == 422:
        answer.json = {name: value for name, value in answer.json.items() if name != "errors"}
    return answer


@breaks("an Idempotency-Key prevents repeated work")
async def keys_ignored(request: httpx.Request, ask: Ask) -> Answer:
    request.headers.pop("idempotency-key", None)
    return await ask(request)


@breaks("lists are paginated")
async def repeated_first_page(request: httpx.Request, ask: Ask) -> Answer:
    if request.url.params.get("cursor", "x") != "x":
        request.url = request.url.copy_remove_param("cursor")
    return await ask(request)


@breaks("responses match OpenAPI")
async def a_number_in_words(request: httpx.Request, ask: Ask) -> Answer:
    answer = await ask(request)
    if request.method == "GET" and request.url.path == "/api/v1/documents" and answer.status == 200:
        page = answer.json
        answer.json = {**page, "items": [{**item, "version": "one"} for item in page["items"]]}
    return answer


@breaks("errors match OpenAPI")
async def errors_without_code(request: httpx.Request, ask: Ask) -> Answer:
    answer = await ask(request)
    if is_unknown_object(request, answer):
        answer.json = {name: value for name, value in answer.json.items() if name != "code"}
    return answer


async def errors_of_another_status(request: httpx.Request, ask: Ask) -> Answer:
    answer = await ask(request)
    if is_unknown_object(request, answer):
        answer.status = 400
    return answer


async def errors_of_another_type(request: httpx.Request, ask: Ask) -> Answer:
    answer = await ask(request)
    if is_unknown_object(request, answer):
        answer.headers["content-type"] = "application/json"
    return answer


def is_unknown_object(request: httpx.Request, answer: Answer) -> bool:
    return answer.status == 404 and request.url.path.startswith("/api/v1/documents/")


def remember_allowed() -> Fault:
    """Accept every token that was accepted before."""
    kept: dict[tuple[str, str], Answer] = {}

    async def fault(request: httpx.Request, ask: Ask) -> Answer:
        answer = await ask(request)
        question = str(request.url), request.headers.get("authorization", "")
        if answer.status == 200:
            kept[question] = answer
        return kept.get(question, answer) if answer.status == 401 else answer

    return fault


breaks("a logout takes effect at once")(remember_allowed())


# -- level outage -------------------------------------------------------------------------------


def answer_401(known: bool) -> Fault:
    """Answer 401 instead of 503 to known tokens, or to unknown ones."""
    accepted: set[str] = set()

    async def fault(request: httpx.Request, ask: Ask) -> Answer:
        answer = await ask(request)
        token = request.headers.get("authorization", "")
        if answer.status == 200:
            accepted.add(token)
        if answer.status == 503 and token and (token in accepted) == known:
            answer.status = 401
            answer.json = {**answer.json, "status": 401}
        return answer

    return fault


breaks("503, not 401, for a token that cannot be checked")(answer_401(known=False))
breaks("known tokens work for a while, then 503")(answer_401(known=True))


@breaks("health reports the outage; the service stays live")
async def always_healthy(request: httpx.Request, ask: Ask) -> Answer:
    answer = await ask(request)
    if request.url.path == "/health":
        states = dict.fromkeys(answer.json["dependencies"], "healthy")
        answer.json = {**answer.json, "status": "healthy", "dependencies": states}
    return answer


def stay_unavailable() -> Fault:
    """Answer 503 to everything after the first 503."""
    refusals: list[Answer] = []

    async def fault(request: httpx.Request, ask: Ask) -> Answer:
        answer = await ask(request)
        is_for_people = request.url.path.startswith("/api")
        if answer.status == 503 and is_for_people:
            refusals.append(answer)
        return refusals[0] if refusals and is_for_people and answer.status == 200 else answer

    return fault


breaks("requests succeed again after the outage")(stay_unavailable())
