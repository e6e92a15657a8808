"""The failures a caller may see, and their one rendering: application/problem+json (RFC 9457)."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from .tracing import trace_id

logger = logging.getLogger(__name__)


class ServiceError(Exception):
    """A failure with a status. `target` names the neighbour it came from, if one did."""

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
        self.status_code = status_code or self.status_code
        self.target = target
        self.headers = dict(headers or {})
        self.errors = list(errors)
        self.trace_id = trace_id()


class BadRequest(ServiceError):
    status_code = 400


class Unauthenticated(ServiceError):
    """No, bad, expired or revoked credentials."""

    status_code = 401

    def __init__(self, message: str = "Not authenticated", **kwargs: Any) -> None:
        super().__init__(message, headers={"WWW-Authenticate": "Bearer"}, **kwargs)


class Forbidden(ServiceError):
    status_code = 403


class NotFound(ServiceError):
    """Also what the caller may not see."""

    status_code = 404


class Conflict(ServiceError):
    status_code = 409


class Gone(ServiceError):
    status_code = 410


class PreconditionFailed(ServiceError):
    status_code = 412


class PayloadTooLarge(ServiceError):
    status_code = 413


class UnsupportedMediaType(ServiceError):
    status_code = 415


class Unprocessable(ServiceError):
    """A payload that is understood and wrong; `errors` names the fields."""

    status_code = 422

    @classmethod
    def field(cls, name: str, message: str) -> "Unprocessable":
        return cls(f"{name}: {message}", errors=[{"field": name, "message": message}])


class PreconditionRequired(ServiceError):
    status_code = 428


class TooManyRequests(ServiceError):
    status_code = 429


class BadGateway(ServiceError):
    """A neighbour answered something that makes no sense."""

    status_code = 502


class Unavailable(ServiceError):
    """A neighbour did not answer, or not now. `retry_after` is in seconds."""

    status_code = 503

    def __init__(self, message: str, *, retry_after: float = 1, **kwargs: Any) -> None:
        super().__init__(
            message, headers={"Retry-After": str(max(1, round(retry_after)))}, **kwargs
        )
        self.retry_after = retry_after


def from_status(status_code: int, message: str, *, target: str | None = None) -> ServiceError:
    """A neighbour's 4xx as the error of the same status."""
    for kind in ServiceError.__subclasses__():
        if kind.status_code == status_code:
            return kind(message, target=target)
    return ServiceError(message, status_code, target=target)


def problem(
    status_code: int,
    detail: str,
    *,
    code: str,
    instance: str,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[Mapping[str, str]] = (),
) -> JSONResponse:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status_code).phrase,
        "status": status_code,
        "detail": detail,
        "instance": instance,
        "code": code,
        "trace_id": trace_id(),
    }
    if errors:
        body["errors"] = list(errors)
    return JSONResponse(body, status_code, headers, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Make every failure of the app answer problem+json."""

    async def service_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ServiceError)
        return problem(
            error.status_code,
            error.message,
            code=type(error).__name__,
            instance=request.url.path,
            headers=error.headers,
            errors=error.errors,
        )

    async def http_exception(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return problem(
            error.status_code,
            str(error.detail),
            code=HTTPStatus(error.status_code).phrase.title().replace(" ", ""),
            instance=request.url.path,
            headers=error.headers,
        )

    async def invalid_request(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        errors = [
            {"field": field_name(e["loc"]), "message": e["msg"].removeprefix("Value error, ")}
            for e in error.errors()[:20]
        ]
        return problem(
            422,
            "; ".join(f"{e['field']}: {e['message']}" for e in errors),
            code="Unprocessable",
            instance=request.url.path,
            errors=errors,
        )

    app.add_exception_handler(ServiceError, service_error)
    app.add_exception_handler(HTTPException, http_exception)
    app.add_exception_handler(RequestValidationError, invalid_request)


def field_name(location: Sequence[str | int]) -> str:
    """`tags.0` for ("body", "tags", 0); `body` for the body as a whole."""
    path = [str(part) for part in location]
    if len(path) > 1 and path[0] in ("body", "query", "path", "header", "cookie"):
        path = path[1:]
    return ".".join(path)
