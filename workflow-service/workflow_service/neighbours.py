"""The services and models this service asks."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from chassis.auth import ServiceAccount
from chassis.service_client import ServiceClient
from chassis.untrusted_http import UntrustedHttpClient

from .ai.client import Models, open_models
from .settings import Settings

OURS = ("content-service", "communication-service", "identity-service")


@dataclass(frozen=True)
class Neighbours:
    content: ServiceClient
    communication: ServiceClient
    identity: ServiceClient
    outbound: UntrustedHttpClient
    models: Models

    async def aclose(self) -> None:
        for client in (self.content, self.communication, self.identity, self.outbound):
            await client.aclose()


def open_neighbours(
    settings: Settings, account: ServiceAccount, transport: Any = None
) -> Neighbours:
    """Nothing is connected before the first call."""
    client = partial(
        ServiceClient, service_name=settings.service_name, account=account, transport=transport
    )
    content, communication, identity = OURS
    return Neighbours(
        content=client(settings.content_service_url, target=content),
        communication=client(settings.communication_service_url, target=communication),
        identity=client(settings.identity_service_url, target=identity),
        outbound=UntrustedHttpClient(
            settings.http_allow_hosts, timeout=settings.http_timeout_seconds
        ),
        models=open_models(settings),
    )
