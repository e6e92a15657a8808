"""Holds each response that a test receives to the OpenAPI document of its service.

conftest.py calls `watch_clients`. A response whose status, content type, headers or JSON body the
document does not declare raises UndeclaredResponse at the request that received it. Left alone are
routes outside the document, such as /metrics, and everything that is not one of the SERVICES.
"""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from functools import cached_property
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import httpx
import httpx2
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from chassis.openapi import HEADERS
from chassis.tracing import TRACE_HEADER

from .services import SERVICES

TITLES = {f"{service.short.capitalize()} service API" for service in SERVICES}
FETCH_SECONDS = 5
MAX_SHOWN_LENGTH = 400

Document = dict[str, Any]


class UndeclaredResponse(AssertionError):
    """Raised at the request of a test whose response the OpenAPI document does not declare."""


class Contract:
    """Finds the operation of a request in a document, and compares responses with it."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.validators: dict[int, Draft202012Validator] = {}

    @cached_property
    def operations(self) -> list[tuple[re.Pattern[str], str, str, Document]]:
        """List the operations; a path without parameters wins over one with parameters."""
        return [
            (re.compile(re.sub(r"\\{.*?\\}", "[^/]+", re.escape(path))), method, path, operation)
            for path, methods in sorted(self.document["paths"].items(), key=count_parameters)
            for method, operation in methods.items()
        ]

    def check(self, response: Any) -> None:
        """Raise UndeclaredResponse unless the document declares this response."""
        request = response.request
        for pattern, method, path, operation in self.operations:
            if method == request.method.lower() and pattern.fullmatch(request.url.path):
                status = str(response.status_code)
                if fault := next(self.find_faults(response, operation["responses"], status), None):
                    raise UndeclaredResponse(f"{request.method} {path} answered {status}: {fault}")
                return

    def find_faults(self, response: Any, responses: Document, status: str) -> Iterator[str]:
        if status not in responses:
            yield (
                f"its OpenAPI document declares only {', '.join(responses)}. Declare the error "
                f"with @raises(...) at the endpoint or the dependency that raises it. Response: "
                f"{show(response)}"
            )
            return
        declared = responses[status]
        headers = declared.get("headers", {})
        for name in HEADERS:
            if name in response.headers and name not in headers:
                yield f"it sends the header {name}; declare it with @sends({name!r})"
            elif name not in response.headers and headers.get(name, {}).get("required"):
                yield f"it declares the header {name} and does not send it"
        yield from self.find_content_faults(response, declared.get("content", {}))

    def find_content_faults(self, response: Any, declared: Document) -> Iterator[str]:
        media_type = response.headers.get("content-type", "").partition(";")[0]
        found = [schema for name, schema in declared.items() if fnmatch(media_type, name)]
        is_read = response.is_stream_consumed
        is_empty = response.status_code == 204 or (is_read and not response.content)
        if not declared and is_empty:
            return
        if not found:
            yield (
                f"it declares the content types {', '.join(declared) or 'none'}, and sent "
                f"{media_type or 'none'}. Declare it with `responses=` at the route"
            )
        elif is_read and media_type.endswith("json"):
            yield from self.find_body_faults(response, found[0].get("schema", {}))

    def find_body_faults(self, response: Any, schema: Document) -> Iterator[str]:
        validator = self.validators.get(id(schema))
        if validator is None:
            components = close_objects(self.document.get("components", {}))
            validator = Draft202012Validator({**schema, "components": components})
            self.validators[id(schema)] = validator
        if error := best_match(validator.iter_errors(response.json())):
            yield f"its body does not fit the schema at {error.json_path}: {error.message}"


def count_parameters(item: tuple[str, Any]) -> int:
    return item[0].count("{")


def close_objects(components: Document) -> Document:
    """Allow no other properties than the declared ones."""
    schemas = {
        name: {"additionalProperties": False, **schema} if "properties" in schema else schema
        for name, schema in components.get("schemas", {}).items()
    }
    return {**components, "schemas": schemas}


def show(response: Any) -> str:
    return str(response.text[:MAX_SHOWN_LENGTH]) if response.is_stream_consumed else "(a stream)"


# -- which document a response belongs to -----------------------------------------------------

by_app: dict[int, Contract] = {}
by_origin: dict[str, Contract | None] = {}


def check_response(client: Any, response: Any) -> None:
    """Check a response of a service; only services of this repository send a trace id."""
    if TRACE_HEADER not in response.headers:
        return
    app = getattr(client, "app", None) or getattr(client._transport, "app", None)
    if app is not None:
        check_response_of_app(app, response)
        return
    url = response.request.url
    origin = f"{url.scheme}://{url.netloc.decode()}"
    known = origin in by_origin
    if not known:
        by_origin[origin] = fetch_contract(origin)
    try:
        check_with(by_origin[origin], response)
    except UndeclaredResponse:
        if not known:
            raise
        # Another service may have taken over the port since.
        by_origin[origin] = fetch_contract(origin)
        check_with(by_origin[origin], response)


def leave_alone(origin: str) -> None:
    """Do not check the service at this origin, which is wrong on purpose."""
    by_origin[origin] = None


def check_with(contract: Contract | None, response: Any) -> None:
    if contract:
        contract.check(response)


def check_response_of_app(app: Any, response: Any) -> None:
    if getattr(app, "title", "") in TITLES:
        document = app.openapi()
        if id(document) not in by_app:
            by_app[id(document)] = Contract(document)
        by_app[id(document)].check(response)


def fetch_contract(origin: str) -> Contract | None:
    try:
        with urlopen(f"{origin}/openapi.json", timeout=FETCH_SECONDS) as response:
            document = json.load(response)
    except (URLError, OSError, ValueError):
        return None
    return Contract(document) if document["info"]["title"] in TITLES else None


# -- the clients ------------------------------------------------------------------------------


def watch_clients() -> None:
    """Check the responses of all HTTP clients of this process.

    Tests make clients in many ways, also deep inside `httpx.get`; all of them pass `send`.
    """
    for library in (httpx, httpx2):
        setattr(library.Client, "send", watch(library.Client.send))  # noqa: B010
        setattr(library.AsyncClient, "send", watch_async(library.AsyncClient.send))  # noqa: B010


def watch(send: Callable[..., Any]) -> Callable[..., Any]:
    def send_and_check(client: Any, *args: Any, **kwargs: Any) -> Any:
        response = send(client, *args, **kwargs)
        check_response(client, response)
        return response

    return send_and_check


def watch_async(send: Callable[..., Any]) -> Callable[..., Any]:
    async def send_and_check(client: Any, *args: Any, **kwargs: Any) -> Any:
        response = await send(client, *args, **kwargs)
        if TRACE_HEADER in response.headers:
            await asyncio.to_thread(check_response, client, response)
        return response

    return send_and_check
