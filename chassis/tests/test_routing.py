"""Routes refuse query parameters and form fields that they do not know or that are repeated."""

from typing import Annotated, Any

import pytest
from fastapi import Form, Query
from fastapi.testclient import TestClient

from chassis.app import create_app
from chassis.auth import CurrentUser, User, require_permission
from chassis.pagination import PageRequest
from chassis.routing import APIRouter
from chassis.schemas import RequestModel
from tools.localdev.fake_identity import FakeIdentity

from .toy import toy_settings

router = APIRouter()


class Filters(RequestModel):
    color: str | None = None
    tag: tuple[str, ...] = ()


class Upload(RequestModel):
    title: str
    labels: tuple[str, ...] = ()


@router.get("/things")
async def list_things(filters: Annotated[Filters, Query()]) -> Filters:
    return filters


@router.get("/pages")
async def list_pages(page: PageRequest, status: str = "all") -> dict[str, Any]:
    return {**page._asdict(), "status": status}


@router.get("/mine")
async def list_mine(user: CurrentUser) -> None:
    pass


@router.get("/secrets")
async def read_secrets(reader: Annotated[User, require_permission("secrets:read")]) -> None:
    pass


@router.post("/secrets")
async def create_secret(
    new: Upload, writer: Annotated[User, require_permission("secrets:write")]
) -> None:
    pass


@router.post("/uploads")
async def upload(new: Annotated[Upload, Form()]) -> Upload:
    return new


@pytest.fixture
def client() -> TestClient:
    app = create_app(toy_settings())
    app.state.authenticate = None  # is not called for a request without a token
    app.include_router(router)
    return TestClient(app)


def test_an_unknown_query_parameter_is_refused_and_the_known_ones_are_named(
    client: TestClient,
) -> None:
    response = client.get("/pages?limt=3")

    assert response.status_code == 422
    message = "unknown parameter; this route knows cursor, limit, status"
    assert response.json()["errors"] == [{"field": "limt", "message": message}]


def test_a_route_without_parameters_refuses_every_one(client: TestClient) -> None:
    response = client.post("/uploads?x=", data={"title": "a"})

    assert response.status_code == 422
    assert response.json()["detail"] == "x: unknown parameter; this route knows none"


def test_a_parameter_with_one_value_must_not_be_repeated(client: TestClient) -> None:
    response = client.get("/pages?limit=3&limit=4")

    assert response.status_code == 422
    assert response.json()["detail"] == "limit: must be given once"


def test_a_list_parameter_may_be_repeated(client: TestClient) -> None:
    response = client.get("/things?tag=a&tag=b&color=red")

    assert response.json() == {"color": "red", "tag": ["a", "b"]}


def test_a_field_of_a_model_of_parameters_must_not_be_repeated(client: TestClient) -> None:
    response = client.get("/things?color=red&color=blue")

    assert response.json()["errors"] == [{"field": "color", "message": "must be given once"}]


def test_a_stranger_hears_about_the_token_first(client: TestClient) -> None:
    assert client.get("/mine?unknown=1").status_code == 401


def test_a_caller_without_the_permission_hears_about_that_first() -> None:
    app = create_app(toy_settings())
    app.state.transport = identity = FakeIdentity()
    viewer = identity.add_person("secrets:list")
    app.include_router(router)
    with TestClient(app) as client:
        assert client.get("/secrets?unknown=1", headers=viewer.headers).status_code == 403
        assert client.post("/secrets", content="{", headers=viewer.headers).status_code == 403


def test_a_form_field_with_one_value_must_not_be_repeated(client: TestClient) -> None:
    response = client.post("/uploads", data={"title": ["a", "b"]})

    assert response.status_code == 422
    assert response.json()["errors"] == [{"field": "title", "message": "must be given once"}]


def test_a_list_field_of_a_form_may_be_repeated(client: TestClient) -> None:
    response = client.post("/uploads", data={"title": "a", "labels": ["x", "y"]})

    assert response.json() == {"title": "a", "labels": ["x", "y"]}


def test_the_names_of_many_unknown_parameters_are_cut_short(client: TestClient) -> None:
    query = "&".join(f"{'x' * 500}{number}=1" for number in range(30))

    errors = client.get(f"/pages?{query}").json()["errors"]

    assert len(errors) == 20
    assert all(len(error["field"]) == 100 for error in errors)
