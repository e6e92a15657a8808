"""Calls to URLs that users choose, such as webhooks, which must not reach our own network (SSRF).

A host is resolved when connecting, all of its addresses must be public, and the connection goes to
a checked address, so DNS rebinding gains nothing. Redirects are not followed, proxies not used, and
responses are limited in time and size.
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
from .service_client import get_ssl_context, run_from_thread
from .tracing import get_seconds_left

CONNECT_SECONDS = 3.0  # for each address of a name
MAX_RESPONSE_BYTES = 64 * 1024
MAX_CONNECTIONS = 100
# Separate threads: waiting for a slow name server takes none from other work.
RESOLVER_THREADS = ThreadPoolExecutor(16, "resolver")
AZURE_METADATA_ADDRESS = "168.63.129.16"  # the one metadata service with a public address


async def resolve_host(host: str) -> Iterable[str]:
    """Return the distinct addresses of a host; raise gaierror when it has none."""
    ask = partial(getaddrinfo, host.encode(), None, type=SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(RESOLVER_THREADS, ask)
    return dict.fromkeys(str(socket[0]) for *_, socket in found)


class ForbiddenTarget(Unprocessable):
    """Raised when the URL is not a plain http URL, or its host is not public."""


class NoResponse(Exception):
    """Raised when there is no response, or none in time."""


@dataclass(frozen=True)
class UntrustedResponse:
    """Holds a response of any status; of a long body only the beginning."""

    status: int
    headers: httpx.Headers
    content: bytes


class UntrustedHttpClient:
    """Calls public hosts, and those in `allow_hosts`, as written in URLs, at any address."""

    def __init__(
        self,
        allow_hosts: Collection[str] = (),
        *,
        timeout: float = 10.0,
        max_bytes: int = MAX_RESPONSE_BYTES,
        resolve: Callable[[str], Awaitable[Iterable[str]]] = resolve_host,
    ) -> None:
        self.timeout = timeout
        self.max_bytes = max_bytes
        self._backend = PublicAddressBackend(allow_hosts, resolve)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=get_ssl_context(),
            max_connections=MAX_CONNECTIONS,
            keepalive_expiry=3.0,
            network_backend=self._backend,
        )

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], content: bytes = b""
    ) -> UntrustedResponse:
        """Send a request; raise ForbiddenTarget before anything is sent, or NoResponse."""
        target = parse_url(url)
        request = httpx.Headers(headers)
        request["Accept-Encoding"] = "identity"  # a compressed response could grow without limit
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
            if len(content) >= self.max_bytes:
                break
        headers = httpx.Headers(response.headers)
        return UntrustedResponse(response.status, headers, content[: self.max_bytes])

    async def check_url(self, url: str) -> None:
        """Raise ForbiddenTarget; a name without an address passes, since it may get one."""
        with suppress(gaierror, TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._backend.resolve_public(parse_url(url).raw_host.decode())

    def request_from_thread(self, method: str, url: str, **request: Any) -> UntrustedResponse:
        """Call `request` from a thread, as ServiceClient.call_from_thread."""
        answer: UntrustedResponse = run_from_thread(partial(self.request, method, url, **request))
        return answer

    async def aclose(self) -> None:
        await self._pool.aclose()


class PublicAddressBackend(httpcore.AnyIOBackend):
    """Resolves hosts and connects to checked addresses only."""

    def __init__(
        self, allow_hosts: Collection[str], resolve: Callable[[str], Awaitable[Iterable[str]]]
    ) -> None:
        self._allowed = {host.lower() for host in allow_hosts}
        self._resolve = resolve

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
        """Resolve the host; raise ForbiddenTarget when any of its addresses is not public."""
        addresses = await self._resolve(host)
        if host.lower() not in self._allowed and not all(map(is_public, addresses)):
            raise ForbiddenTarget.for_field("url", f"{host} has an address that is not public")
        return addresses


def is_public(text: str) -> bool:
    """Tell whether an address is public and embeds no other address."""
    address = ip_address(text)
    if isinstance(address, IPv6Address) and (address.sixtofour or address.is_site_local):
        return False
    reserved = address.is_multicast or address.is_reserved or text == AZURE_METADATA_ADDRESS
    return address.is_global and not reserved


def parse_url(url: str) -> httpx.URL:
    """Raise ForbiddenTarget unless it is a plain http or https URL."""
    try:
        found = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise ForbiddenTarget.for_field("url", f"is not a URL: {error}") from error
    if found.scheme not in ("http", "https") or not found.host or "%" in found.netloc.decode():
        raise ForbiddenTarget.for_field(
            "url", "must begin with https:// or http:// and name a host"
        )
    if found.port is not None and not 0 < found.port < 65536:
        raise ForbiddenTarget.for_field("url", "port must be between 1 and 65535")
    if found.userinfo or found.fragment:
        raise ForbiddenTarget.for_field("url", "must have no user, password or fragment")
    return found
