"""Values that requests may contain, tested through an endpoint."""

import json
from typing import Annotated, Any

import pytest
from fastapi import Query
from fastapi.testclient import TestClient
from pydantic import Field

from chassis.app import create_app
from chassis.schemas import JsonObject, RequestModel, Text, Time

from .toy import toy_settings


class Note(RequestModel):
    title: Annotated[Text, Field(max_length=20)] = ""
    tags: list[Text] = Field(default_factory=list)
    data: JsonObject = Field(default_factory=dict)
    due: Time | None = None


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = create_app(toy_settings())

    @app.post("/notes")
    def write(note: Note) -> Note:
        return note

    @app.get("/notes")
    def search(query: Annotated[Text, Query()]) -> str:
        return query

    return TestClient(app)


def post(client: TestClient, body: str) -> Any:
    return client.post("/notes", content=body, headers={"Content-Type": "application/json"})


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(depth):
        inner = {"a": inner}
    return inner


@pytest.mark.parametrize("data", [{"a": [1, 2.5, "é", None, True]}, nested(10), {}])
def test_ordinary_values_are_returned_unchanged(client: TestClient, data: dict[str, Any]) -> None:
    note = {"title": "Grüße 🙂", "tags": ["a", "b"], "data": data, "due": "2026-11-30T12:00:00Z"}

    assert client.post("/notes", json=note).json() == note


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (r'{"title": "nul\u0000"}', "title"),
        (r'{"title": "half a pair \ud83d"}', "title"),
        (r'{"tags": ["fine", "\u0000"]}', "tags.1"),
        (r'{"data": {"a": ["\u0000"]}}', "data"),
        (r'{"data": {"a\u0000": 1}}', "data"),
        (r'{"data": {"a": {"b": "\udfff"}}}', "data"),
        (r'{"data": {"\udfff": 1}}', "data"),
        ('{"data": {"a": NaN}}', "data"),
        ('{"data": {"a": [-Infinity]}}', "data"),
        ('{"data": {"a": 1e999}}', "data"),
        (json.dumps({"data": nested(30)}), "data"),
        (json.dumps({"data": {"a": [[]] * 11_000}}), "data"),
        ('{"data": []}', "data"),
        ('{"data": "{}"}', "data"),
        ('{"title": "much too long, since it has more than twenty letters"}', "title"),
        ('{"titel": "x"}', "titel"),
        ("[]", "body"),
        ("null", "body"),
        ('"text"', "body"),
        ("", "body"),
    ],
)
def test_a_value_that_cannot_be_stored_is_refused_by_name(
    client: TestClient, body: str, field: str
) -> None:
    response = post(client, body)

    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]


@pytest.mark.parametrize("body", ["{", "{'title': 1}", '{"title": "x"} x', "nul"])
def test_invalid_json_is_refused_as_the_body(client: TestClient, body: str) -> None:
    response = post(client, body)

    assert response.status_code == 422
    assert response.json()["errors"] == [{"field": "body", "message": "JSON decode error"}]


@pytest.mark.parametrize("body", ["[" * 100_000, '{"data": {"a": ' + "9" * 5000 + "}}", "\ud800"])
def test_json_that_parsers_disagree_on_is_refused(client: TestClient, body: str) -> None:
    response = client.post(
        "/notes",
        content=body.encode(errors="surrogatepass"),
        headers={"Content-Type": "application/json"},
    )

    assert response.status_code in (400, 422)
    assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("name", [r"\ud83d", r"\u0000"])
def test_an_unknown_field_with_an_odd_name_is_refused(client: TestClient, name: str) -> None:
    response = post(client, f'{{"{name}": 1}}')

    assert response.status_code == 422


def test_a_query_is_checked_too(client: TestClient) -> None:
    response = client.get("/notes?query=a%00b")

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "query"


def test_the_limit_of_a_text_is_given_in_characters(client: TestClient) -> None:
    errors = client.post("/notes", json={"title": "x" * 21}).json()["errors"]

    assert errors[0]["message"].endswith("at most 20 characters after validation, not 21")


@pytest.mark.parametrize("due", ["1764504000", "0.5", 1764504000])
def test_a_time_is_not_a_number_of_seconds(client: TestClient, due: Any) -> None:
    response = client.post("/notes", json={"due": due})

    assert response.status_code == 422
    message = "must be a time such as 2026-11-30T12:00:00Z"
    assert response.json()["errors"] == [{"field": "due", "message": message}]
