"""The clients for everything that this service calls: services, other sites, models."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from chassis.remote_auth import ServiceAccount
from chassis.service_client import ServiceClient
from chassis.untrusted_http import UntrustedHttpClient

from .ai.client import ModelClient, create_model_client
from .settings import Settings

PLATFORM_SERVICES = ("content-service", "communication-service", "identity-service")


@dataclass(frozen=True)
class Neighbours:
    content: ServiceClient
    communication: ServiceClient
    identity: ServiceClient
    untrusted_http: UntrustedHttpClient  # calls URLs that users give
    models: ModelClient

    def get_client(self, provider: str) -> ServiceClient:
        """Return the client for a service, given its short name."""
        client: ServiceClient = getattr(self, provider)
        return client

    async def aclose(self) -> None:
        for client in (self.content, self.communication, self.identity, self.untrusted_http):
            await client.aclose()


def create_neighbours(
    settings: Settings, account: ServiceAccount, transport: Any = None
) -> Neighbours:
    """Create all clients; none of them connects before its first call."""
    client = partial(
        ServiceClient, service_name=settings.service_name, account=account, transport=transport
    )
    web = UntrustedHttpClient(settings.http_allow_hosts, timeout=settings.http_timeout_seconds)
    content, communication, identity = PLATFORM_SERVICES
    return Neighbours(
        content=client(settings.content_service_url, target=content),
        communication=client(settings.communication_service_url, target=communication),
        identity=client(settings.identity_service_url, target=identity),
        untrusted_http=web,
        models=create_model_client(settings),
    )
