"""Tests that bad input gets a clear refusal, never a 500."""

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from tools.localdev.services import Service

from .api_endpoints import ENDPOINTS, Endpoint, for_each
from .bad_input import BadRequest, bad_requests
from .users import WITHOUT_CERTIFICATES, Person, Stack, create_belongings, log_in

MAX_SHOWN_FAULTS = 20


@pytest.fixture(scope="module")
def admin(stack: Stack) -> Person:
    return log_in(stack, "admin@example.com")


@pytest.fixture(scope="module")
def ids(admin: Person) -> dict[str, str]:
    """Create objects for path parameters, so that requests reach the code behind them."""
    return create_belongings(admin)


@pytest.fixture
def client(stack: Stack, service: Service) -> Iterator[httpx.Client]:
    url = stack.get_url(service.name)
    with httpx.Client(base_url=url, verify=WITHOUT_CERTIFICATES, timeout=15) as client:
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

    assert not faults, "\n".join([f"{len(faults)} in all", *faults[:MAX_SHOWN_FAULTS]])


def send(client: httpx.Client, bad: BadRequest) -> httpx.Response:
    return client.request(bad.method, bad.path, content=bad.content, headers=bad.headers)


def is_refused(bad: BadRequest, response: httpx.Response) -> bool:
    """Return whether the answer is a 4xx problem; a 422 must name the wrong fields."""
    if not 400 <= response.status_code < 500:
        return False
    if response.headers["content-type"] != "application/problem+json":
        return False
    if response.status_code != 422:
        return bool(response.json()["detail"])
    named = {error["field"].partition(".")[0].lower() for error in response.json()["errors"]}
    return bool(named) and (bad.names is None or bad.names.lower() in named)
