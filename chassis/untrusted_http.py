"""Calls to URLs that a stranger chose, such as webhooks: they never lead into our own network.

A name is resolved when the connection is made, all of its addresses are looked at, and what was
looked at is what is connected to: a name that answers differently each time gains nothing by it.
Redirects are not followed, proxies not used, and an answer is limited in time and size.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv6Address, ip_address
from socket import SOCK_STREAM, gaierror, getaddrinfo
from typing import Any

import httpcore
import httpx

from .errors import Unprocessable
from .service_client import run_from_thread
from .tracing import get_seconds_left

CONNECT_SECONDS = 3.0  # for each address of a name
MAX_RESPONSE_BYTES = 64 * 1024
MAX_CONNECTIONS = 100
# Threads of their own: who waits for a stranger's slow name server takes none from anybody else.
RESOLVER_THREADS = ThreadPoolExecutor(16, "resolver")
AZURE_METADATA_ADDRESS = "168.63.129.16"  # the one metadata service with a public address


async def resolve_host(host: str) -> Iterable[str]:
    """The addresses of a host, each once; raises gaierror when it has none."""
    ask = partial(getaddrinfo, host.encode(), None, type=SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(RESOLVER_THREADS, ask)
    return dict.fromkeys(str(socket[0]) for *_, socket in found)


class ForbiddenTarget(Unprocessable):
    """The URL is not one for http, or leads to an address that is not public."""


class NoResponse(Exception):
    """There was no answer, or none in time."""


@dataclass(frozen=True)
class UntrustedResponse:
    """Whatever the status; of a long body only the beginning is read."""

    status: int
    headers: httpx.Headers
    content: bytes


class UntrustedHttpClient:
    """`allow_hosts` are hosts, as written in URLs, that are called whatever their address is."""

    def __init__(
        self,
        allow_hosts: Collection[str] = (),
        *,
        timeout: float = 10.0,
        most_bytes: int = MAX_RESPONSE_BYTES,
        resolve: Callable[[str], Awaitable[Iterable[str]]] = resolve_host,
    ) -> None:
        self.timeout, self.most_bytes = timeout, most_bytes
        self._backend = PublicAddressBackend(allow_hosts, resolve)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=MAX_CONNECTIONS,
            keepalive_expiry=3.0,
            network_backend=self._backend,
        )

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], content: bytes = b""
    ) -> UntrustedResponse:
        """Raises ForbiddenTarget before anything is sent, or NoAnswer."""
        target, request = parse_url(url), httpx.Headers(headers)
        request["Accept-Encoding"] = "identity"  # nothing that grows when it is unpacked
        address = httpcore.URL(
            scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path
        )
        times = {"timeout": {"connect": CONNECT_SECONDS}}
        call = self._pool.stream(
            method, address, headers=request.raw, content=content, extensions=times
        )
        try:
            async with asyncio.timeout(min(self.timeout, get_seconds_left())), call as response:
                return await self._read(response)
        except (TimeoutError, httpcore.TimeoutException) as error:
            raise NoResponse("No answer in time") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise NoResponse(f"No answer: {error}") from error

    async def _read(self, response: httpcore.Response) -> UntrustedResponse:
        content = b""
        async for chunk in response.aiter_stream():
            content += chunk
            if len(content) >= self.most_bytes:
                break
        headers = httpx.Headers(response.headers)
        return UntrustedResponse(response.status, headers, content[: self.most_bytes])

    async def check_url(self, url: str) -> None:
        """Raises ForbiddenTarget; a name without an address may get one, and passes."""
        with suppress(gaierror, TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._backend.resolve_public(parse_url(url).raw_host.decode())

    def request_from_thread(self, method: str, url: str, **request: Any) -> UntrustedResponse:
        """`request` for code in a thread, as ServiceClient.call."""
        answer: UntrustedResponse = run_from_thread(partial(self.request, method, url, **request))
        return answer

    async def aclose(self) -> None:
        await self._pool.aclose()


class PublicAddressBackend(httpcore.AnyIOBackend):
    """Connects to addresses that it has looked at, and to no name."""

    def __init__(
        self, allow_hosts: Collection[str], resolve: Callable[[str], Awaitable[Iterable[str]]]
    ) -> None:
        self._allowed, self._resolve = {host.lower() for host in allow_hosts}, resolve

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *args: Any, **options: Any
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in await self.resolve_public(host):
            try:
                return await super().connect_tcp(address, port, timeout, *args, **options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def resolve_public(self, host: str) -> Iterable[str]:
        """Of the host; raises ForbiddenTarget when any is not public."""
        addresses = await self._resolve(host)
        if host.lower() not in self._allowed and not all(map(is_public, addresses)):
            raise ForbiddenTarget.for_field("url", f"{host} has an address that is not public")
        return addresses


def is_public(text: str) -> bool:
    """Not of this machine or network, nor one that carries another address in it."""
    address = ip_address(text)
    if isinstance(address, IPv6Address) and (address.sixtofour or address.is_site_local):
        return False
    reserved = address.is_multicast or address.is_reserved or text == AZURE_METADATA_ADDRESS
    return address.is_global and not reserved


def parse_url(url: str) -> httpx.URL:
    """Raises ForbiddenTarget when it is no plain http or https URL."""
    try:
        found = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise ForbiddenTarget.for_field("url", f"is not a URL: {error}") from error
    if found.scheme not in ("http", "https") or not found.host or "%" in found.netloc.decode():
        raise ForbiddenTarget.for_field(
            "url", "must begin with https:// or http:// and name a host"
        )
    if found.port is not None and not 0 < found.port < 65536:
        raise ForbiddenTarget.for_field("url", "has no port that there could be")
    if found.userinfo or found.fragment:
        raise ForbiddenTarget.for_field("url", "must have no user, password or fragment")
    return found
