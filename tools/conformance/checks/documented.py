"""Checks of level "login" that hold responses against the service's own OpenAPI document."""

from collections.abc import Iterator

import httpx

from ..openapi import JSON, Operation
from ..registry import guarantee
from ..target import NotApplicable, Service, describe, expect

STREAM = "text/event-stream"


@guarantee("login", "responses match OpenAPI")
def check_results(service: Service) -> str:
    reads = [o for o in service.operations if o.is_plain_read]
    answers = [(o, service.get(o.path, service.caller)) for o in reads]
    if answered := [(o, r) for o, r in answers if r.is_success]:
        for operation, response in answered:
            expect_documented(operation, response)
        return f"{len(answered)} reads match their schemas"
    raise NotApplicable("no GET without parameters succeeds")


@guarantee("login", "errors match OpenAPI")
def check_errors(service: Service) -> str:
    errors = 0
    for operation in service.operations:
        for response in provoke_errors(service, operation):
            expect_documented(operation, response)
            errors += response.is_error
    expect(errors > 0, "no operation answers an error to any of the wrong requests")
    return f"{errors} errors of {len(service.operations)} operations: status, type and body"


def provoke_errors(service: Service, operation: Operation) -> Iterator[httpx.Response]:
    """Send wrong requests, none of which changes anything even if the service accepts it."""
    if operation.is_protected:
        yield service.request(operation.method, operation.url)
    if operation.takes_json:
        broken = {"content": b"{", "headers": {"Content-Type": JSON}}
        yield service.request(operation.method, operation.url, service.caller, **broken)
    if "{" in operation.path and operation.method in ("GET", "DELETE"):
        if STREAM not in operation.result_types:
            yield service.request(operation.method, operation.url, service.caller)
    elif operation.is_plain_read:
        yield service.get(operation.path, service.caller, params={"no-such-parameter": "1"})


def expect_documented(operation: Operation, response: httpx.Response) -> None:
    mismatch = operation.find_mismatch(response)
    expect(mismatch is None, f"{describe(response)}: {mismatch}")
