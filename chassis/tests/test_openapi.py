"""The OpenAPI document of an app says what its routes answer.

The routes of this module are things to put in and take out.
"""

from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Header, UploadFile
from pydantic import BaseModel

from chassis.app import create_app
from chassis.auth import CurrentUser, User, require_permission
from chassis.errors import Conflict, NotFound
from chassis.event_stream import EventStreamResponse, StreamedEvent, StreamOpened
from chassis.health import build_health_router
from chassis.openapi import raises, sends
from chassis.pagination import Page, PageRequest
from chassis.routing import APIRouter
from chassis.schemas import RequestModel

from .toy import toy_settings

IfMatch = Annotated[str | None, Header(max_length=200)]
Writer = Annotated[User, require_permission("things:write")]


class NameTaken(Conflict):
    """Raised when another thing has this name."""


class UnknownThing(NotFound):
    """Raised when there is no thing of this number."""


class ThingRead(BaseModel):
    name: str


class ThingCreate(RequestModel):
    name: str


class ThingAdded(StreamedEvent):
    data: ThingRead


router = APIRouter(tags=["Things"])


@router.get("/things")
async def list_things(user: CurrentUser, page: PageRequest) -> Page[ThingRead]:
    raise NotFound("There are none")


@router.post("/things", status_code=201)
@raises(NameTaken)
@sends("ETag")
async def create_thing(new: ThingCreate, writer: Writer) -> ThingRead:
    return ThingRead(name=new.name)


@router.get("/things/{thing_id}")
async def read_thing(thing_id: int) -> ThingRead:
    raise NotFound("There is no such thing")


@router.put("/things/{thing_id}")
@raises(UnknownThing)
async def rename_thing(thing_id: int, if_match: IfMatch = None) -> ThingRead:
    raise UnknownThing("There is no such thing")


@router.put("/things/{thing_id}/picture")
async def replace_picture(thing_id: int, picture: UploadFile) -> None:
    pass


@router.get(
    "/things-added",
    response_class=EventStreamResponse,
    responses={200: {"model": StreamOpened | ThingAdded}},
)
async def stream_things() -> EventStreamResponse:
    return EventStreamResponse(iter(()))


@pytest.fixture
def app() -> FastAPI:
    settings = toy_settings()
    app = create_app(settings, description="Things.")
    app.include_router(build_health_router(settings, {"database": _pass}, lambda: ("1", "1")))
    app.include_router(router)
    return app


def _pass(app: FastAPI) -> None:
    pass


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def test_every_error_is_a_problem(document: dict[str, Any]) -> None:
    errors = [
        response["content"]
        for path, operations in document["paths"].items()
        for operation in operations.values()
        for status, response in operation["responses"].items()
        if status >= "4" and path.startswith("/things")
    ]

    reference = {"$ref": "#/components/schemas/Problem"}
    assert errors
    assert all(e == {"application/problem+json": {"schema": reference}} for e in errors)
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_statuses_follow_from_the_signature(document: dict[str, Any]) -> None:
    paths = document["paths"]

    assert [*paths["/things"]["get"]["responses"]] == ["200", "401", "422", "503"]
    assert [*paths["/things/{thing_id}"]["get"]["responses"]] == ["200", "404", "422"]


def test_a_permission_and_a_body_add_their_statuses(document: dict[str, Any]) -> None:
    created = document["paths"]["/things"]["post"]["responses"]

    assert [*created] == ["201", "400", "401", "403", "409", "413", "422", "503"]


def test_a_declared_error_is_named_by_its_code(document: dict[str, Any]) -> None:
    conflict = document["paths"]["/things"]["post"]["responses"]["409"]

    assert "`NameTaken`: Raised when another thing has this name." in conflict["description"]


def test_a_declared_error_takes_the_place_of_the_general_one(document: dict[str, Any]) -> None:
    not_found = document["paths"]["/things/{thing_id}"]["put"]["responses"]["404"]

    assert "`UnknownThing`: Raised when there is no thing" in not_found["description"]
    assert "`NotFound`" not in not_found["description"]


def test_no_parameter_can_be_null(document: dict[str, Any]) -> None:
    cursor = document["paths"]["/things"]["get"]["parameters"][1]

    assert cursor["name"] == "cursor"
    assert cursor["schema"]["type"] == "string"
    assert "anyOf" not in cursor["schema"]


def test_if_match_is_declared_as_required(document: dict[str, Any]) -> None:
    if_match = document["paths"]["/things/{thing_id}"]["put"]["parameters"][1]

    assert if_match["name"] == "If-Match"
    assert if_match["required"]


def test_a_stream_is_a_text_of_events(document: dict[str, Any]) -> None:
    [[media_type, content]] = document["paths"]["/things-added"]["get"]["responses"]["200"][
        "content"
    ].items()

    assert media_type == "text/event-stream"
    assert content["schema"]["type"] == "string"
    events = content["schema"]["contentSchema"]["anyOf"]
    assert [event["$ref"].split("/")[-1] for event in events] == ["StreamOpened", "ThingAdded"]
    added = document["components"]["schemas"]["ThingAdded"]
    assert added["properties"]["data"] == {"$ref": "#/components/schemas/ThingRead"}


def test_a_file_has_the_format_that_generated_clients_know(document: dict[str, Any]) -> None:
    [form] = [
        schema for name, schema in document["components"]["schemas"].items() if "Body" in name
    ]

    assert form["properties"]["picture"]["format"] == "binary"


def test_headers_of_answers_are_declared(document: dict[str, Any]) -> None:
    responses = document["paths"]["/things"]["post"]["responses"]

    assert [*responses["201"]["headers"]] == ["ETag"]
    assert [*responses["503"]["headers"]] == ["Retry-After"]


def test_a_public_operation_says_that_it_needs_no_token(document: dict[str, Any]) -> None:
    assert document["paths"]["/things/{thing_id}"]["get"]["security"] == []
    assert document["paths"]["/things"]["get"]["security"] == [{"Bearer": []}]


def test_an_operation_is_named_after_its_function(document: dict[str, Any]) -> None:
    operation = document["paths"]["/things"]["post"]

    assert operation["operationId"] == "create_thing"
    assert operation["summary"] == "Create thing"


def test_tags_are_described_by_their_modules_and_health_is_last(document: dict[str, Any]) -> None:
    assert [tag["name"] for tag in document["tags"]] == ["Things", "Health"]
    assert document["tags"][0]["description"] == str(__doc__).strip()


def test_a_page_is_named_after_what_it_lists(document: dict[str, Any]) -> None:
    assert document["components"]["schemas"]["ThingPage"]["title"] == "ThingPage"


def test_readiness_has_one_body_for_both_statuses(document: dict[str, Any]) -> None:
    responses = document["paths"]["/health/ready"]["get"]["responses"]

    body = {"application/json": {"schema": {"$ref": "#/components/schemas/Readiness"}}}
    assert responses["200"]["content"] == responses["503"]["content"] == body
