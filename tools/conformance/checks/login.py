"""Checks of level "login": requests by one user with every permission and one with none."""

import time
from uuid import uuid4

from ..openapi import Operation
from ..registry import guarantee
from ..target import NotApplicable, Service, describe, expect, expect_problem

MAX_REVOCATION_SECONDS = 2.0  # from a logout until its token is rejected
MAX_PAGES = 20


@guarantee("login", "403 without the permission")
def check_forbidden(service: Service) -> str:
    refused = 0
    for operation in service.operations:
        if operation.is_plain_read and operation.is_protected:
            response = service.get(operation.path, service.outsider)
            if response.status_code != 200:  # some reads need a login only
                expect_problem(response, 403)
                refused += 1
    expect(refused > 0, f"{service.options.outsider} can read everything")
    return f"{service.options.outsider} gets 403 from {refused} reads"


@guarantee("login", "422 names the invalid field")
def check_invalid(service: Service) -> str:
    for operation in service.operations:
        required = set(operation.body.get("required", []))
        if required and "{" not in operation.path:
            response = service.request(operation.method, operation.path, service.caller, json={})
            errors = expect_problem(response, 422).get("errors", [])
            named = {error.get("field") for error in errors}
            expect(required <= named, f"{describe(response)} names {sorted(named)}, not {required}")
            return f"{operation.method} {operation.path}: {', '.join(sorted(required))}"
    return "no operation has required JSON fields"


@guarantee("login", "an Idempotency-Key prevents repeated work")
def check_idempotency(service: Service) -> str:
    operation = service.create_operation
    body = service.build_body(operation)
    key = uuid4().hex
    first, again = (service.send_create(operation, body, key) for _ in range(2))
    expect(first.is_success, describe(first))
    different = f"{describe(again)} with a different body: {again.text[:80]}"
    expect(first.content == again.content, different)
    replayed = again.headers.get("idempotent-replayed", "")
    expect(replayed == "true", f"Idempotent-Replayed is {replayed!r} in the repeated response")
    expect_problem(service.send_create(operation, service.build_body(operation), key), 422)
    return f"{describe(first)} twice with one response; another body with that key is 422"


@guarantee("login", "lists are paginated")
def check_pages(service: Service) -> str:
    lists = [o for o in service.operations if o.is_list and o.is_protected]
    if not lists:
        raise NotApplicable("no list has the parameters limit and cursor")
    for operation in lists:
        for wrong in ({"limit": 0}, {"limit": 101}, {"cursor": "x"}):
            expect_problem(service.get(operation.path, service.caller, params=wrong), 422)
    for _ in range(2):
        create = service.create_operation
        service.send_create(create, service.build_body(create), uuid4().hex)
    longest = max(count_pages(service, operation) for operation in lists)
    expect(longest > 1, "no list has two pages of one")
    return f"{len(lists)} lists; {longest} pages of one item, none twice"


def count_pages(service: Service, operation: Operation) -> int:
    """Read pages of one item, up to MAX_PAGES, and return how many there are."""
    cursor = ""
    items = list[str]()
    while len(items) < MAX_PAGES:
        params = {"limit": "1", **({"cursor": cursor} if cursor else {})}
        response = service.get(operation.path, service.caller, params=params)
        expect(response.status_code == 200, f"{describe(response)} with {params}")
        page = response.json()
        expect(len(page["items"]) <= 1, f"{describe(response)} has more items than limit=1")
        items += map(repr, page["items"])
        expect(len(set(items)) == len(items), f"{operation.path} has one item on two pages")
        cursor = page["next_cursor"]
        if not cursor:
            break
    return len(items)


@guarantee("login", "a logout takes effect at once")
def check_revocation(service: Service) -> str:
    path = service.readable_path
    person = service.log_in(service.options.caller)
    expect(service.get(path, person).status_code == 200, "a new token is not accepted")
    service.log_out(person)
    started = time.monotonic()
    while (response := service.get(path, person)).status_code == 200:
        lag = time.monotonic() - started
        expect(lag < MAX_REVOCATION_SECONDS, f"{path} is readable {lag:.1f} s after logout")
        time.sleep(0.02)
    expect_problem(response, 401)
    return f"rejected {time.monotonic() - started:.2f} s after the logout"
