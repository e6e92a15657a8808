"""Errors that a client may see, and how they are rendered: application/problem+json (RFC 9457)."""

import logging
import re
from collections.abc import Mapping, Sequence
from http.client import responses
from socket import gaierror
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from .tracing import get_trace_id

logger = logging.getLogger(__name__)

# Python 3.11 and 3.12 still have the names from before RFC 9110.
STATUS_TITLES = responses | {
    413: "Content Too Large",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
MAX_FIELD_ERRORS = 20  # in one response


class FieldError(BaseModel):
    """Names what is wrong with one field or parameter of a request."""

    field: str = Field(description="The path of the field in the request, such as `tags.0`.")
    message: str


class Problem(BaseModel):
    """Describes an error (RFC 9457). `code` names its kind and is stable; texts may change."""

    type: str = Field(description="Always `about:blank`: `code` tells the kind of error.")
    title: str = Field(description="The name of the status.")
    status: int
    detail: str = Field(description="What went wrong, and what to do about it.")
    instance: str = Field(description="The path of the request.")
    code: str
    trace_id: str = Field(description="Finds this request in the logs of every service.")
    errors: list[FieldError] = Field([], description="The wrong fields, if there are any.")


class ServiceError(Exception):
    """Carries a status; `target` names the neighbour it came from, if any."""

    status_code = 500

    def __init__(
        self,
        message: str,
        status_code: int | None = None,
        *,
        target: str | None = None,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.target = target
        self.errors = errors
        self.status_code = status_code or self.status_code
        self.headers = dict(headers or {})
        self.trace_id = get_trace_id()


class Unauthenticated(ServiceError):
    """Raised for missing, wrong, expired or revoked credentials."""

    status_code = 401

    def __init__(self, message: str = "Not authenticated", **kwargs: Any) -> None:
        super().__init__(message, headers={"WWW-Authenticate": "Bearer"}, **kwargs)


class BadRequest(ServiceError):
    """Raised for a body that cannot be parsed."""

    status_code = 400


class Forbidden(ServiceError):
    """Raised when the caller lacks a permission."""

    status_code = 403


class NotFound(ServiceError):
    """Raised for what does not exist, and for what the caller may not see."""

    status_code = 404


class Conflict(ServiceError):
    """Raised when the state of the object does not allow this."""

    status_code = 409


class Gone(ServiceError):
    """Raised for what existed and cannot be had again."""

    status_code = 410


class PreconditionFailed(ServiceError):
    """Raised when the object has changed since the caller read it."""

    status_code = 412


class PayloadTooLarge(ServiceError):
    """Raised for a body that is larger than the route accepts."""

    status_code = 413


class UnsupportedMediaType(ServiceError):
    """Raised for a file or body of a type that the route does not accept."""

    status_code = 415


class Unprocessable(ServiceError):
    """Raised for a payload that is understood and wrong; `errors` names the fields."""

    status_code = 422

    @classmethod
    def for_field(cls, name: str, message: str) -> "Unprocessable":
        return cls.for_fields([FieldError(field=name, message=message)])

    @classmethod
    def for_fields(cls, errors: Sequence[FieldError]) -> "Unprocessable":
        detail = "; ".join(f"{error.field}: {error.message}" for error in errors)
        return cls(detail, errors=[error.model_dump() for error in errors])


class PreconditionRequired(ServiceError):
    """Raised when the header If-Match is missing."""

    status_code = 428


class TooManyRequests(ServiceError):
    """Raised when the caller must wait; Retry-After says how long."""

    status_code = 429


class BadGateway(ServiceError):
    """Raised when a neighbour sends an invalid response."""

    status_code = 502


class Unavailable(ServiceError):
    """Raised when a neighbour does not answer in time; `retry_after` is in seconds."""

    status_code = 503

    def __init__(self, message: str, *, retry_after: float = 1, **kwargs: Any) -> None:
        headers = {"Retry-After": str(max(1, round(retry_after)))}
        super().__init__(message, headers=headers, **kwargs)
        self.retry_after = retry_after


ERRORS_BY_STATUS = {kind.status_code: kind for kind in ServiceError.__subclasses__()}


def create_error(status_code: int, message: str, *, target: str | None = None) -> ServiceError:
    """Return the error class's instance for a neighbour's 4xx."""
    if status_code in ERRORS_BY_STATUS:
        return ERRORS_BY_STATUS[status_code](message, target=target)
    return ServiceError(message, status_code, target=target)


def render_problem(path: str, error: ServiceError) -> JSONResponse:
    title = STATUS_TITLES.get(error.status_code, "Error")
    is_named = type(error) is not ServiceError
    body = {
        "type": "about:blank",
        "title": title,
        "status": error.status_code,
        "detail": error.message,
        "instance": path,
        "code": type(error).__name__ if is_named else title.replace(" ", ""),
        "trace_id": get_trace_id(),
    }
    if error.errors:
        body["errors"] = error.errors
    media_type = "application/problem+json"
    return JSONResponse(body, error.status_code, error.headers, media_type=media_type)


def install_error_handlers(app: FastAPI) -> None:
    """Make every failure of the app answer problem+json."""

    @app.exception_handler(ServiceError)
    async def handle_service_error(request: Request, error: ServiceError) -> JSONResponse:
        return render_problem(request.url.path, error)

    @app.exception_handler(HTTPException)
    async def handle_http_exception(request: Request, error: HTTPException) -> JSONResponse:
        found = create_error(error.status_code, error.detail)
        found.headers |= error.headers or {}
        if methods := "Allow" in found.headers and list_methods(app, request.url.path):
            found.headers["Allow"] = methods
        return render_problem(request.url.path, found)

    @app.exception_handler(RequestValidationError)
    async def handle_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [
            FieldError(field=get_field_name(e), message=get_message(e))
            for e in error.errors()[:MAX_FIELD_ERRORS]
        ]
        return render_problem(request.url.path, Unprocessable.for_fields(errors))

    async def handle_database_error(request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, DBAPIError) and not is_transient(error):
            raise error
        logger.warning("the database is unavailable: %s", getattr(error, "orig", error))
        unavailable = Unavailable("The database is unavailable; try again in a moment")
        return render_problem(request.url.path, unavailable)

    # asyncpg raises the first three for a closed port, no answer, and an unknown host.
    for kind in (ConnectionError, TimeoutError, gaierror, PoolTimeout, DBAPIError):
        app.add_exception_handler(kind, handle_database_error)


def list_methods(app: FastAPI, path: str) -> str:
    """Return all methods of a path; the router names only those of the first route it finds."""
    methods: dict[str, set[str]] = {}
    for route in iter_route_contexts(app.routes):
        if route.path_regex.match(path):
            methods.setdefault(str(route.path), set()).update(route.methods or ())
    # /users/contacts rather than /users/{user_id}
    plainest = min(methods, key=lambda found: found.count("{"), default="")
    return ", ".join(sorted(methods.get(plainest, ())))


def is_transient(error: DBAPIError) -> bool:
    """Tell whether the state of the database is at fault, not the statement: a retry may work."""
    state = getattr(error.orig, "pgcode", None) or ""
    unreachable = isinstance(error, OperationalError) and not state
    # SQLSTATE classes: connection, transaction rollback, resources, operator intervention.
    return unreachable or error.connection_invalidated or state[:2] in ("08", "40", "53", "57")


def get_message(error: Mapping[str, Any]) -> str:
    """Return pydantic's message; for a text it says characters where pydantic says items."""
    message = str(error["msg"]).removeprefix("Value error, ")
    is_text = isinstance(error["input"], str)
    return re.sub(r"\bitem(s?)\b", r"character\1", message) if is_text else message


def get_field_name(error: Mapping[str, Any]) -> str:
    """Return `tags.0` for ("body", "tags", 0), and `body` for the whole body."""
    whole, *inner = error["loc"]
    name = ".".join(map(str, inner)) if inner and error["type"] != "json_invalid" else whole
    return name[:100]  # an unknown field may have a name of any length
