"""Tests that a response which the OpenAPI document does not declare fails the test that sees it."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.testclient import TestClient
from pydantic import BaseModel

from chassis.app import create_app
from chassis.errors import Conflict, NotFound, Unavailable
from chassis.openapi import sends
from chassis.routing import APIRouter
from chassis.settings import Settings
from tools.localdev.contract_check import UndeclaredResponse, watch, watch_async
from tools.localdev.services import SERVICES


class Thing(BaseModel):
    name: str


router = APIRouter(tags=["Things"])


@router.get("/things/{thing_id}")
@sends("ETag")
def read_thing(thing_id: str, response: Response) -> Thing:
    """Answers what the id says."""
    match thing_id:
        case "unknown":
            raise NotFound("There is no such thing")
        case "taken":
            raise Conflict("Another thing has this name")
        case "busy":
            raise Unavailable("Try again")
    if thing_id != "without-etag":
        response.headers["ETag"] = '"1"'
    if thing_id == "moved":
        response.headers["Location"] = "/elsewhere"
    return Thing(name=thing_id)


@router.get("/raw/{kind}", response_model=Thing)
def read_raw(kind: str) -> Response:
    bodies = {"good": {"name": "x"}, "wrong": {"name": 1}, "more": {"name": "x", "secret": "y"}}
    return JSONResponse(bodies[kind]) if kind in bodies else Response("x", media_type="text/plain")


@router.get("/stream", responses={200: {"content": {"text/event-stream": {}}}})
async def stream() -> StreamingResponse:
    async def run() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"

    return StreamingResponse(run(), media_type="text/event-stream")


@router.get("/hidden", include_in_schema=False)
def read_hidden() -> Response:
    return Response("x", status_code=418)


class WatchedClient(TestClient):
    send = watch(TestClient.send)


class WatchedAsyncClient(httpx.AsyncClient):
    send = watch_async(httpx.AsyncClient.send)


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    app = create_app(settings)
    app.include_router(router)
    return app


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return WatchedClient(app)


pytestmark = pytest.mark.parametrize("folder", [SERVICES[0].folder], ids=[SERVICES[0].name])


@pytest.mark.parametrize(
    "path",
    ["/things/known", "/things/unknown", "/raw/good", "/stream", "/hidden", "/metrics", "/nothing"],
)
def test_declared_responses_and_undocumented_routes_pass(client: TestClient, path: str) -> None:
    assert client.get(path).content
    assert client.post(path).status_code in (404, 405)


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("/things/taken", "declares only 200, 404, 422. Declare the error with @raises"),
        ("/things/busy", "answered 503"),
        ("/things/moved", "sends the header Location; declare it with @sends('Location')"),
        ("/things/without-etag", "declares the header ETag and does not send it"),
        ("/raw/text", "declares the content types application/json, and sent text/plain"),
        ("/raw/wrong", "its body does not fit the schema at $.name: 1 is not of type 'string'"),
        ("/raw/more", "'secret' was unexpected"),
    ],
)
def test_an_undeclared_response_fails_the_test(client: TestClient, path: str, fault: str) -> None:
    with pytest.raises(UndeclaredResponse) as raised:
        client.get(path)

    template = "/raw/{kind}" if "raw" in path else "/things/{thing_id}"
    assert f"GET {template} answered" in str(raised.value)
    assert fault in str(raised.value)


async def test_asynchronous_clients_are_watched_too(app: FastAPI) -> None:
    transport = httpx.ASGITransport(app)
    async with WatchedAsyncClient(transport=transport, base_url="http://content") as client:
        assert (await client.get("/things/known")).is_success
        with pytest.raises(UndeclaredResponse):
            await client.get("/things/taken")
