"""The services and models this service asks."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from chassis.auth import ServiceAccount
from chassis.service_client import ServiceClient

from .ai.asking import Models, open_models
from .settings import Settings


@dataclass(frozen=True)
class Neighbours:
    content: ServiceClient
    communication: ServiceClient
    models: Models


def open_neighbours(
    settings: Settings, account: ServiceAccount, transport: Any = None
) -> Neighbours:
    """Nothing is connected before the first call."""
    client = partial(
        ServiceClient, service_name=settings.service_name, account=account, transport=transport
    )
    return Neighbours(
        content=client(settings.content_service_url, target="content-service"),
        communication=client(settings.communication_service_url, target="communication-service"),
        models=open_models(settings),
    )
