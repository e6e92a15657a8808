"""Whatever is sent: a clear refusal, never a 500, and nothing at all without a token."""

import importlib
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from localstack.services import SERVICES, Service

from .bad_input import BadRequest, Endpoint, bad_requests, endpoints
from .people import NO_CERTIFICATES, Person, Stack, log_in, open_task, start_review, upload

MOST_SHOWN = 20

ENDPOINTS = [
    (service, endpoint)
    for service in SERVICES
    for endpoint in endpoints(importlib.import_module(f"{service.package}.main").app.openapi())
    if not endpoint.path.startswith("/health")
]
PROTECTED = [(service, endpoint) for service, endpoint in ENDPOINTS if endpoint.is_protected]


def for_each(pairs: list[tuple[Service, Endpoint]]) -> pytest.MarkDecorator:
    names = [f"{service.short} {endpoint.method} {endpoint.path}" for service, endpoint in pairs]
    return pytest.mark.parametrize(("service", "endpoint"), pairs, ids=names)


@pytest.fixture(scope="module")
def admin(stack: Stack) -> Person:
    return log_in(stack, "admin@example.com")


@pytest.fixture(scope="module")
def ids(admin: Person) -> dict[str, str]:
    """Path parameters of things that exist, so that requests get as far as they can."""
    document = upload(admin)
    task = open_task(admin, start_review(admin, admin, document))
    message = {"recipient_id": admin.user_id, "subject": "Hello", "body": "Hello"}
    sent = admin.post("communication", "/notifications", json=message)
    template = admin.get("communication", "/templates")["items"][0]
    return {
        "document_id": document["id"],
        "number": "1",
        "user_id": admin.user_id,
        "workflow_id": task["workflow_id"],
        "task_id": task["id"],
        "notification_id": sent["id"],
        "template_id": template["id"],
    }


@pytest.fixture
def client(stack: Stack, service: Service) -> Iterator[httpx.Client]:
    url = stack.url(service.name)
    with httpx.Client(base_url=url, verify=NO_CERTIFICATES, timeout=15) as client:
        yield client


@for_each(ENDPOINTS)
def test_a_page_of_bad_input_is_refused_by_name(
    endpoint: Endpoint, client: httpx.Client, admin: Person, ids: dict[str, str]
) -> None:
    if endpoint.is_protected:
        client.headers["Authorization"] = f"Bearer {admin.token}"

    faults = [
        f"{bad.what} -> {response.status_code} {response.text[:200]}"
        for bad in bad_requests(replace(endpoint, ids=ids))
        if not is_refused(bad, response := send(client, bad))
    ]

    assert not faults, "\n".join([f"{len(faults)} in all", *faults[:MOST_SHOWN]])


def send(client: httpx.Client, bad: BadRequest) -> httpx.Response:
    return client.request(bad.method, bad.path, content=bad.content, headers=bad.headers)


def is_refused(bad: BadRequest, response: httpx.Response) -> bool:
    """By a problem with a 4xx; a 422 says which fields are wrong."""
    if not 400 <= response.status_code < 500:
        return False
    if response.headers["content-type"] != "application/problem+json":
        return False
    if response.status_code != 422:
        return bool(response.json()["detail"])
    named = {error["field"].partition(".")[0].lower() for error in response.json()["errors"]}
    return bool(named) and (bad.names is None or bad.names.lower() in named)


@for_each(PROTECTED)
def test_nobody_gets_in_without_a_token(endpoint: Endpoint, client: httpx.Client) -> None:
    for authorization in (None, "", "Bearer", "Bearer nonsense", "Basic YTpi"):
        headers = {} if authorization is None else {"Authorization": authorization}

        response = client.request(endpoint.method, endpoint.url(), headers=headers)

        assert response.status_code == 401, authorization
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.headers["content-type"] == "application/problem+json"
