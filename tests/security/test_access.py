"""Tests every route with every kind of caller and another user's ids against its policy."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import httpx
import pytest

from tools.localdev.services import SERVICES, Service

from ..api_endpoints import ENDPOINTS, Endpoint, build_good_body, for_each
from ..users import (
    PROTECTED_PATHS,
    WITHOUT_CERTIFICATES,
    Person,
    Stack,
    create_api_key,
    create_belongings,
    eventually,
    get_json,
    get_service_token,
    log_in,
    register,
)
from .policies import Caller, Policy, read_policies

PREFIX = "/api/v1"
# `create_belongings` does not know what users own at a service that was added.
PLATFORM_ENDPOINTS = [
    (service, endpoint) for service, endpoint in ENDPOINTS if service.short in PROTECTED_PATHS
]
POLICIES = {service.name: read_policies(service.folder) for service in SERVICES}
# They would end the session with which the caller goes on.
ENDS_ITSELF = {"POST /auth/logout", "DELETE /auth/sessions"}
PRIVATE = {"session_id", "document_id", "workflow_id", "task_id", "notification_id", "item_id",
           "endpoint_id"}  # fmt: skip

Clients = dict[str, httpx.Client]


def get_name(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path.removeprefix(PREFIX)}"


def get_policy(service: Service, endpoint: Endpoint) -> Policy:
    return POLICIES[service.name][get_name(endpoint)]


@pytest.fixture(scope="module")
def owner(stack: Stack) -> Person:
    """Register the user who owns everything that others request."""
    return register(stack)


@pytest.fixture(scope="module")
def ids(owner: Person) -> dict[str, str]:
    ids = create_belongings(owner)
    sent = f"/notifications/{ids['notification_id']}"
    eventually(lambda: owner.get("communication", sent)["status"] == "delivered")
    return ids


@pytest.fixture(scope="module")
def callers(stack: Stack, owner: Person) -> dict[str, Caller]:
    member = register(stack)
    people = {
        "owner": owner,
        "member": member,
        "outsider": log_in(stack, "outsider@example.com"),
        "admin": log_in(stack, "admin@example.com"),
        "service": get_service_token(stack, "content"),
        "service for the member": get_service_token(stack, "workflow", member.user_id),
    }
    keys = {
        "key of the member": create_api_key(member, ["documents:read", "workflows:read"]),
        "key of the admin": create_api_key(people["admin"], ["*"]),
    }
    return {
        "anonymous": Caller(),
        **{name: build_caller(person, is_owner=person is owner) for name, person in people.items()},
        **{name: build_caller(key, is_key=True) for name, key in keys.items()},
    }


def build_caller(person: Person, **is_a: bool) -> Caller:
    user = get_json(person.request("POST", "identity", "/auth/validate"))
    return Caller(person.token, user, **is_a)


@pytest.fixture(scope="module")
def clients(stack: Stack) -> Iterator[Clients]:
    with ExitStack() as opened:
        yield {
            service.name: opened.enter_context(
                httpx.Client(
                    base_url=stack.get_url(service.name), verify=WITHOUT_CERTIFICATES, timeout=15
                )
            )
            for service in SERVICES
        }


@pytest.fixture
def client(clients: Clients, service: Service) -> httpx.Client:
    return clients[service.name]


@pytest.fixture(scope="module")
def before(clients: Clients, callers: dict[str, Caller], ids: dict[str, str]) -> dict[str, str]:
    return read_state(clients, callers["owner"], ids)


def read_state(clients: Clients, owner: Caller, ids: dict[str, str]) -> dict[str, str]:
    """Read everything that the owner owns."""
    return {
        endpoint.path: response.text
        for service, endpoint in PLATFORM_ENDPOINTS
        if endpoint.method == "GET" and "{" in endpoint.path
        if not endpoint.path.endswith(("/download", "/stream"))  # leaves a trace; has no end
        if (response := call(clients[service.name], replace(endpoint, ids=ids), owner)).is_success
    }


def call(client: httpx.Client, endpoint: Endpoint, caller: Caller) -> httpx.Response:
    headers, content = build_good_body(endpoint)
    headers = {"If-Match": '"1"'} | headers | caller.headers
    method = endpoint.method
    url = endpoint.build_url(q="mill")
    request = client.build_request(method, url, content=content, headers=headers)
    response = client.send(request, stream=True)
    if "event-stream" not in response.headers.get("content-type", ""):  # which has no end
        response.read()
    response.close()
    return response


@for_each(PLATFORM_ENDPOINTS)
def test_callers_without_access_are_refused(
    service: Service,
    endpoint: Endpoint,
    client: httpx.Client,
    callers: dict[str, Caller],
    ids: dict[str, str],
    before: dict[str, str],
) -> None:
    refusals = {
        name: get_policy(service, endpoint).get_refusal(who) for name, who in callers.items()
    }
    refused = {name: status for name, status in refusals.items() if status}
    attacked = replace(endpoint, ids=ids)

    answers = {name: call(client, attacked, callers[name]) for name in refused}

    assert {name: answer.status_code for name, answer in answers.items()} == refused
    for response in answers.values():
        assert response.headers["content-type"] == "application/problem+json"
        assert ("www-authenticate" in response.headers) == (response.status_code == 401)


def test_after_all_that_everything_is_as_it_was(
    clients: Clients, callers: dict[str, Caller], ids: dict[str, str], before: dict[str, str]
) -> None:
    assert read_state(clients, callers["owner"], ids) == before


def test_no_list_shows_what_is_somebody_elses(
    clients: Clients, callers: dict[str, Caller], ids: dict[str, str]
) -> None:
    private = [ids[name] for name in PRIVATE]

    def lists_of(caller: Caller) -> set[str]:
        """Return the lists in which the caller sees something of the owner."""
        return {
            get_name(endpoint)
            for service, endpoint in PLATFORM_ENDPOINTS
            if endpoint.method == "GET" and "{" not in endpoint.path
            if not endpoint.path.endswith("/stream")  # of the inbox, which is among them
            if get_policy(service, endpoint).get_refusal(caller) is None
            if (text := call(clients[service.name], endpoint, caller).text)
            if any(id in text for id in private)
        }

    shown = {name: lists_of(caller) for name, caller in callers.items()}

    assert shown["owner"] >= {f"GET /{noun}" for noun in ("documents", "search", "tasks", "inbox")}
    assert not shown["member"] | shown["outsider"] | shown["service for the member"]


@for_each(PLATFORM_ENDPOINTS)
def test_callers_with_access_are_accepted(
    service: Service,
    endpoint: Endpoint,
    client: httpx.Client,
    callers: dict[str, Caller],
    ids: dict[str, str],
) -> None:
    """Send the same requests with access, to prove that the refusals are about access."""
    policy = get_policy(service, endpoint)
    for name, caller in callers.items():
        ends = get_name(endpoint) in ENDS_ITSELF or (
            caller.is_owner and endpoint.method == "DELETE"
        )
        if policy.get_refusal(caller) or ends:
            continue
        # What is the owner's is changed by the owner alone.
        harmless = caller.is_owner or endpoint.method == "GET"
        response = call(client, replace(endpoint, ids=ids if harmless else {}), caller)

        assert response.status_code < 500, name
        assert not is_refusal(response), (name, response.text)
        if policy.theirs and caller.is_owner:
            assert response.status_code != 404, response.text


def is_refusal(response: httpx.Response) -> bool:
    is_problem = response.headers.get("content-type") == "application/problem+json"
    return is_problem and response.json()["code"] in ("Unauthenticated", "Forbidden")
