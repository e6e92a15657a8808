"""The router that every service uses in place of FastAPI's own."""

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import fastapi
from fastapi import Depends, Request, Response
from fastapi._compat import ModelField, field_annotation_is_sequence
from fastapi.dependencies.models import Dependant
from fastapi.params import Form
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .auth import find_bearers
from .errors import MAX_FIELD_ERRORS, FieldError, Unprocessable
from .idempotency import replay_or_store

METHODS_WITH_BODY = {"POST", "PUT", "PATCH"}
SHOWN_NAME_LENGTH = 100

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Route(APIRoute):
    """Checks permission and query before the body is read, and replays responses by key.

    It refuses a query parameter that it does not know, because a typo in a filter must not return
    everything; and a parameter or form field that has one value and is given twice.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Only FastAPI's own analysis of the endpoint, just made, tells whether the body is a form.
        if self.body_field and isinstance(self.body_field.field_info, Form):
            check = Depends(refuse_repeated_fields)
            kwargs["dependencies"] = [*(kwargs.get("dependencies") or ()), check]
            super().__init__(*args, **kwargs)

    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()
        methods = self.methods or set()
        if "POST" in methods:
            handler = replay_or_store(handler)
        known = find_query_parameters(self.dependant)
        bearers = list(find_bearers(self.dependant))
        # FastAPI reads the body before it calls dependencies, even that of an unknown client.
        has_body = bool(methods & METHODS_WITH_BODY)

        async def handle(request: Request) -> Response:
            query: bytes = request.scope["query_string"]
            errors = find_parameter_errors(parse_names(query), known) if query else []
            if has_body or errors:
                for check in bearers:
                    await check(request)
            if errors:
                raise Unprocessable.for_fields(errors)
            return await handler(request)

        return handle


class APIRouter(fastapi.APIRouter):  # noqa: TID251
    """Makes each of its routes a `Route`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"route_class": Route, **kwargs})


def find_query_parameters(dependant: Dependant) -> dict[str, bool]:
    """Return the names of a route's query parameters, and whether each may be repeated."""
    found = flatten_fields(dependant.query_params)
    for dependency in dependant.dependencies:
        found |= find_query_parameters(dependency)
    return found


def flatten_fields(parameters: Iterable[ModelField]) -> dict[str, bool]:
    """Return the names of parameters, or of the fields of models, and whether each is a list."""
    found: dict[str, bool] = {}
    for parameter in parameters:
        model = parameter.field_info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            fields = {field.alias or name: field for name, field in model.model_fields.items()}
        else:
            fields = {parameter.alias: parameter.field_info}
        found |= {name: is_list(field) for name, field in fields.items()}
    return found


def is_list(field: FieldInfo) -> bool:
    return field_annotation_is_sequence(field.annotation)


def parse_names(query: bytes) -> list[str]:
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return [name for name, _ in pairs]


def find_parameter_errors(names: Sequence[str], known: Mapping[str, bool]) -> list[FieldError]:
    """Return an error for each name that is unknown or wrongly repeated."""
    unknown = [
        FieldError(field=name[:SHOWN_NAME_LENGTH], message=describe_known(known))
        for name in dict.fromkeys(names)
        if name not in known
    ]
    return unknown[:MAX_FIELD_ERRORS] + find_repeated(names, known)


def describe_known(known: Iterable[str]) -> str:
    names = ", ".join(sorted(known))
    return f"unknown parameter; this route knows {names or 'none'}"


def find_repeated(names: Sequence[str], known: Mapping[str, bool]) -> list[FieldError]:
    return [
        FieldError(field=name, message="must be given once")
        for name, may_repeat in sorted(known.items())
        if not may_repeat and names.count(name) > 1
    ]


async def refuse_repeated_fields(request: Request) -> None:
    """Refuse a form that repeats a field which has one value; FastAPI would take the last."""
    fields = flatten_fields(request.scope["route"].dependant.body_params)
    names = [name for name, _ in (await request.form()).multi_items()]
    if errors := find_repeated(names, fields):
        raise Unprocessable.for_fields(errors)
