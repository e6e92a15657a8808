"""Completes the OpenAPI document that FastAPI generates: errors, headers, tags and operation ids.

What a route may answer beside its result follows from its signature: a token means 401, a
permission 403, a path parameter 404, a body 413, and so on. What only its code knows is declared:

    @router.put("/documents/{document_id}")
    @raises(StaleVersion)
    @sends("ETag")
    def change_document(...)

Dependencies declare in the same way what they raise and send.
"""

import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from .errors import (
    STATUS_TITLES,
    BadRequest,
    NotFound,
    PayloadTooLarge,
    Problem,
    ServiceError,
    Unavailable,
    Unprocessable,
)

Function = TypeVar("Function", bound=Callable[..., Any])
Operation = dict[str, Any]

HEADERS = {
    "Accept-Ranges": "`bytes`: parts can be requested with Range.",
    "Content-Disposition": "The name under which to save the file.",
    "Content-Range": "Which bytes this part has, and of how many.",
    "ETag": "The version of this object; send it as If-Match to change exactly this version.",
    "Idempotent-Replayed": "`true` when this is the stored response of an earlier request.",
    "Location": "The address of the new object.",
    "Retry-After": "Seconds to wait before the next attempt.",
    "WWW-Authenticate": "The scheme with which to authenticate.",
}
OPTIONAL_HEADERS = {"Idempotent-Replayed"}  # the others are always sent where they are declared
SCHEMAS = "#/components/schemas/"
ERROR_HEADERS = {
    401: ["WWW-Authenticate"],
    412: ["ETag"],
    416: ["Content-Range"],
    429: ["Retry-After"],
    503: ["Retry-After"],
}
EVENT_STREAM = "text/event-stream"
LAST_TAG = "Health"  # the operations that readers look for come first


def raises(*errors: type[ServiceError]) -> Callable[[Function], Function]:
    """Declare the errors that an endpoint or a dependency raises, beside those of its signature."""

    def declare(function: Function) -> Function:
        function.raised_errors = errors  # type: ignore[attr-defined]
        return function

    return declare


def sends(*headers: str) -> Callable[[Function], Function]:
    """Declare headers of the successful response; each must be described in HEADERS."""

    def declare(function: Function) -> Function:
        described = {name: describe_header(name) for name in headers}
        function.sent_headers = described  # type: ignore[attr-defined]
        return function

    return declare


def describe_header(name: str) -> dict[str, Any]:
    required = name not in OPTIONAL_HEADERS
    return {"description": HEADERS[name], "required": required, "schema": {"type": "string"}}


def get_operation_id(route: APIRoute) -> str:
    """Name an operation after its function, which generated clients call."""
    return route.name


def complete_openapi(app: FastAPI) -> None:
    """Make `app.openapi` return the completed document."""
    generate = app.openapi

    def generate_and_complete() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = rename_pages(generate())
            complete_document(document, list(find_documented_routes(app)))
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = generate_and_complete  # type: ignore[method-assign]


def rename_pages(document: dict[str, Any]) -> dict[str, Any]:
    """Name and title the schema of `Page[DocumentRead]` DocumentPage, not Page_DocumentRead_."""
    renamed = re.sub(r'\bPage[_[](\w+?)(Read)?[]_]"', r'\1Page"', json.dumps(document))
    found: dict[str, Any] = json.loads(renamed)
    return found


def find_documented_routes(app: FastAPI) -> Iterator[RouteContext]:
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, APIRoute) and route.include_in_schema:
            yield route


def complete_document(document: dict[str, Any], routes: list[RouteContext]) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    mark_files(schemas)
    problem = Problem.model_json_schema(ref_template=SCHEMAS + "{model}")
    schemas.update(problem.pop("$defs"), Problem=problem)
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    for route in routes:
        for method in route.methods or ():
            complete_operation(document["paths"][str(route.path_format)][method.lower()], route)
    document["tags"] = describe_tags(routes)


def mark_files(schemas: dict[str, Any]) -> None:
    """Give each file of a form the format by which generators of clients know a file."""
    for schema in schemas.values():
        for field in schema.get("properties", {}).values():
            if field.get("contentMediaType") == "application/octet-stream":
                field["format"] = "binary"


def complete_operation(operation: Operation, route: RouteContext) -> None:
    operation["summary"] = route.summary or str(route.name).replace("_", " ").capitalize()
    operation.setdefault("security", [])
    complete_parameters(operation.get("parameters", ()))
    calls = list(find_calls(route.dependant))
    sent = [getattr(call, "sent_headers", {}) for call in calls]
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            complete_success(response, sent)
    declared = operation["responses"]
    described = describe_errors({*find_errors(route, calls)})
    described.update({status: r for status, r in declared.items() if status != "422"})
    operation["responses"] = dict(sorted(described.items()))


def complete_parameters(parameters: Iterable[dict[str, Any]]) -> None:
    """Spell headers as usual; say that no parameter can be null and that If-Match must be sent."""
    for parameter in parameters:
        kinds = parameter["schema"].get("anyOf", [])
        if len(kinds) == 2 and kinds[1] == {"type": "null"}:
            del parameter["schema"]["anyOf"]
            parameter["schema"].update(kinds[0])
        if parameter["in"] == "header":
            parameter["name"] = parameter["name"].title()
        if parameter["name"] == "If-Match":  # optional for FastAPI, so that the answer is 428
            parameter["required"] = True


def complete_success(response: dict[str, Any], sent: list[dict[str, Any]]) -> None:
    for headers in filter(None, sent):
        response.setdefault("headers", {}).update(headers)
    if content := response.get("content", {}).get(EVENT_STREAM):
        # FastAPI says that the text and an event are one; the text contains events.
        content["schema"].pop("type")
        content["schema"] = {
            "type": "string",
            "contentMediaType": EVENT_STREAM,
            "contentSchema": content["schema"],
        }


def find_calls(dependant: Dependant) -> Iterator[Any]:
    """Yield the endpoint and every dependency it needs."""
    yield dependant.call
    for dependency in dependant.dependencies:
        yield from find_calls(dependency)


def find_errors(route: RouteContext, calls: list[Any]) -> Iterator[type[ServiceError]]:
    declared = {error for call in calls for error in getattr(call, "raised_errors", ())}
    yield from declared
    yield Unprocessable  # every route refuses unknown query parameters
    if "{" in str(route.path_format) and not any(issubclass(e, NotFound) for e in declared):
        yield NotFound
    if route.body_field:
        yield from (BadRequest, PayloadTooLarge)
    if len(calls) > 1:  # all but health checks need the database or identity
        yield Unavailable


def describe_errors(errors: set[type[ServiceError]]) -> dict[str, Any]:
    by_status = defaultdict(list)
    for error in sorted(errors, key=lambda error: error.__name__):
        by_status[error.status_code].append(error)
    return {str(status): describe_status(status, group) for status, group in by_status.items()}


def describe_status(status: int, errors: list[type[ServiceError]]) -> dict[str, Any]:
    codes = "\n".join(f"* `{error.__name__}`: {error.__doc__}" for error in errors)
    described: dict[str, Any] = {
        "description": f"{STATUS_TITLES[status]}. Codes:\n\n{codes}",
        "content": {"application/problem+json": {"schema": {"$ref": SCHEMAS + "Problem"}}},
    }
    if status in ERROR_HEADERS:
        described["headers"] = {name: describe_header(name) for name in ERROR_HEADERS[status]}
    return described


def describe_tags(routes: list[RouteContext]) -> list[dict[str, str]]:
    """Describe each tag by the docstring of the first module whose routes have it."""
    found: dict[str, str] = {}
    for route in routes:
        module = sys.modules[route.endpoint.__module__]
        for tag in route.tags:
            found.setdefault(str(tag), str(module.__doc__).strip())
    names = sorted(found, key=lambda name: name == LAST_TAG)
    return [{"name": name, "description": found[name]} for name in names]
