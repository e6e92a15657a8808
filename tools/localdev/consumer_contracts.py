"""Lists what services declare to use of each other, and replays it against the real provider."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from chassis.contracts import NeighbourCall
from chassis.errors import BadGateway

from .services import SERVICES

EVERY_SERVICE = "every service"


class Use(NamedTuple):
    """Names a call and the service that makes it."""

    consumer: str
    name: str
    call: NeighbourCall[Any, Any]

    def __str__(self) -> str:
        return f"{self.name} of {self.consumer}"

    @property
    def sent_schema(self) -> dict[str, Any]:
        return TypeAdapter(self.call.sends).json_schema()

    @property
    def read_schema(self) -> dict[str, Any]:
        return TypeAdapter(self.call.reads).json_schema()


def list_uses(provider: str = "") -> list[Use]:
    """List the calls to a provider, given its short name, or all calls."""
    modules = {EVERY_SERVICE: "chassis.contracts"}
    modules |= {s.short: f"{s.package}.contracts" for s in SERVICES}
    return [
        Use(consumer, name, call)
        for consumer, module in modules.items()
        if find_spec(module)
        for name, call in vars(import_module(module)).items()
        if isinstance(call, NeighbourCall) and provider in ("", call.provider)
    ]


def replay(use: Use, client: Any, values: Mapping[str, Any]) -> None:
    """Make the call as the consumer does, with values by the names of fields and parameters.

    `client` is one of the provider's app, with a token that the consumer could have.
    """
    call = use.call
    url = "http://testserver" + call.path.format(**values)
    sent = use.sent_schema.get("properties", {})
    content: dict[str, Any] = {"params": {n: values[n] for n in call.query if n in values}}
    if sent:
        kind = "data" if call.is_form else "json"
        content[kind] = {name: values[name] for name in sent if name in values}
    response = client.request(call.method, url, **content)
    assert response.is_success, f"{use} would be refused: {response.status_code} {response.text}"
    try:
        call.parse(response.json() if response.content else None)
    except BadGateway as error:
        raise AssertionError(f"{use} could not read this: {error}: {response.text}") from error
