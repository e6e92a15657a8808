"""What people see who are logged in: one who may do everything, one who may do nothing."""

import time
from uuid import uuid4

from ..openapi import Operation
from ..registry import promise
from ..target import NotAsked, Person, Service, expect, expect_problem, seen

LONGEST_LAG = 2.0  # seconds from a logout until its token is refused
MOST_PAGES = 20


@promise("login", "403 without the permission")
def forbidden(service: Service) -> str:
    refused = 0
    for operation in service.operations:
        if operation.is_plain_read and operation.is_protected:
            response = service.get(operation.path, service.outsider)
            if response.status_code != 200:  # what every logged-in person may read
                expect_problem(response, 403)
                refused += 1
    expect(refused > 0, f"{service.question.outsider} may read everything")
    return f"{service.question.outsider} is refused {refused} times"


@promise("login", "422 names the field")
def invalid(service: Service) -> str:
    for operation in service.operations:
        required = set(operation.body.get("required", []))
        if required and "{" not in operation.path:
            response = service.ask(operation.method, operation.path, service.caller, json={})
            errors = expect_problem(response, 422).get("errors", [])
            named = {error.get("field") for error in errors}
            expect(required <= named, f"{seen(response)} names {sorted(named)}, not {required}")
            return f"{operation.method} {operation.path}: {', '.join(sorted(required))}"
    return "no operation takes a JSON object"


@promise("login", "an Idempotency-Key does the work once")
def idempotent(service: Service) -> str:
    operation = service.creation
    body, key = service.fresh_body(operation), uuid4().hex
    first, again = (service.create(operation, body, key) for _ in range(2))
    expect(first.is_success, seen(first))
    expect(first.content == again.content, f"{seen(again)} with another answer: {again.text[:80]}")
    replayed = again.headers.get("idempotent-replayed", "")
    expect(replayed == "true", f"Idempotent-Replayed is {replayed!r} the second time")
    expect_problem(service.create(operation, service.fresh_body(operation), key), 422)
    return f"{seen(first)} twice with one answer; another body with that key is 422"


@promise("login", "lists come in pages")
def pages(service: Service) -> str:
    lists = [o for o in service.operations if o.is_list and o.is_protected]
    if not lists:
        raise NotAsked("no list takes limit and cursor")
    for operation in lists:
        for wrong in ({"limit": 0}, {"limit": 101}, {"cursor": "x"}):
            expect_problem(service.get(operation.path, service.caller, params=wrong), 422)
    for _ in range(2):
        service.create(service.creation, service.fresh_body(service.creation), uuid4().hex)
    longest = max(walked(service, operation) for operation in lists)
    expect(longest > 1, "no list has two pages of one")
    return f"{len(lists)} lists; {longest} pages of one, no item twice"


def walked(service: Service, operation: Operation) -> int:
    """How many pages of one item there are, up to a limit."""
    cursor, items = "", list[str]()
    while len(items) < MOST_PAGES:
        params = {"limit": "1", **({"cursor": cursor} if cursor else {})}
        response = service.get(operation.path, service.caller, params=params)
        expect(response.status_code == 200, f"{seen(response)} with {params}")
        page = response.json()
        expect(len(page["items"]) <= 1, f"{seen(response)} gives more than limit=1 asks for")
        items += map(repr, page["items"])
        expect(len(set(items)) == len(items), f"{operation.path} shows an item on two pages")
        cursor = page["next_cursor"]
        if not cursor:
            break
    return len(items)


@promise("login", "answers are what OpenAPI says")
def truthful(service: Service) -> str:
    answers = [
        (operation, service.get(operation.path, service.caller))
        for operation in service.operations
        if operation.is_plain_read
    ]
    if answered := [(o, r) for o, r in answers if r.is_success]:
        for operation, response in answered:
            misfit = operation.misfit(response.status_code, response.json())
            expect(misfit is None, f"{seen(response)}, {misfit}")
        return f"{len(answered)} reads fit their schemas"
    raise NotAsked("no GET without parameters answers")


@promise("login", "a logout is heard at once")
def revoked(service: Service) -> str:
    path = service.readable
    person = service.log_in(service.question.caller)
    expect(service.get(path, person).status_code == 200, "a fresh token is not let in")
    service.log_out(person)
    lag = seconds_until_refused(service, path, person)
    return f"refused {lag:.2f} s after the logout"


def seconds_until_refused(service: Service, path: str, person: Person) -> float:
    started = time.monotonic()
    while (response := service.get(path, person)).status_code == 200:
        lag = time.monotonic() - started
        expect(lag < LONGEST_LAG, f"{path} still lets in {lag:.1f} s after the logout")
        time.sleep(0.02)
    expect_problem(response, 401)
    return time.monotonic() - started
