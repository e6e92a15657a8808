"""HTTP calls to a neighbour service, with a deadline, retries and a circuit breaker."""

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache, partial
from math import ceil
from typing import Any, Protocol

import anyio.from_thread
import httpx
import purgatory
import tenacity
from purgatory.domain.model import OpenedState

from .errors import BadGateway, ServiceError, TooManyRequests, Unavailable, create_error
from .observability import CIRCUIT_STATE
from .tracing import (
    TIMEOUT_HEADER,
    build_trace_headers,
    get_seconds_left,
    get_trace_id,
    trace_context,
)

MAX_ATTEMPTS = 3
BREAKER_THRESHOLD = 5  # failures in a row
BREAKER_RECOVERY_SECONDS = 2
MAX_RETRY_AFTER_SECONDS = 86400.0
MIN_FAIR_TIMEOUT_SECONDS = 1.0  # a shorter time is not the neighbour's fault
CONNECT_TIMEOUT = httpx.Timeout(None, connect=2.0)
# Close idle connections before uvicorn does, after five seconds.
POOL_LIMITS = httpx.Limits(max_connections=100, keepalive_expiry=3.0)
IDEMPOTENT_METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")

# The event loop of a process without one, such as a Celery worker; it runs in its own thread.
PORTAL = anyio.from_thread.BlockingPortalProvider()

backoff = tenacity.wait_random_exponential(multiplier=0.1, max=1)


@cache
def get_ssl_context() -> ssl.SSLContext:
    """Return the context of all clients: to load root certificates takes 25 ms for each."""
    return httpx.create_ssl_context()


class Account(Protocol):
    """Provides the tokens of calls: see remote_auth.ServiceAccount."""

    async def get_token(self, on_behalf_of: str | None = None) -> str: ...

    def forget_token(self, on_behalf_of: str | None = None) -> None: ...


class NotSent(Unavailable):
    """Raised when the neighbour did nothing yet: any call may be retried."""


class DeadlineTooShort(Unavailable):
    """Raised when the caller left the neighbour too little time; does not open the circuit."""


class ServiceClient:
    """Calls one neighbour, which errors and metrics call `target`.

    `service_name` is the caller's own. Connects at the first call; a `transport` replaces the
    network.
    """

    def __init__(
        self,
        base_url: str,
        service_name: str,
        *,
        target: str | None = None,
        account: Account | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout: float = 10.0,
    ) -> None:
        if not base_url:
            raise ValueError("base_url is empty: set the neighbour's ..._SERVICE_URL")
        self.target = target or httpx.URL(base_url).host
        self.account = account
        self.timeout = timeout
        self._client = httpx.AsyncClient(
            base_url=base_url,
            transport=transport,
            verify=get_ssl_context(),
            headers={"X-Service-Name": service_name},
            limits=POOL_LIMITS,
            timeout=CONNECT_TIMEOUT,
        )
        self._breakers = purgatory.AsyncCircuitBreakerFactory(
            BREAKER_THRESHOLD,
            BREAKER_RECOVERY_SECONDS,
            exclude=[DeadlineTooShort, asyncio.CancelledError],
        )
        self._breakers.add_listener(record_breaker_state)

    async def make_request(
        self,
        method: str,
        endpoint: str,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        on_behalf_of: str | None = None,
        timeout: float | None = None,
        **content: Any,
    ) -> Any:
        """Return the parsed JSON of the response, or None when it has no body.

        `data` is sent as JSON; `content` goes to httpx: params, files, content. The `timeout`, in
        seconds, includes retries. Unless an Authorization header is given, the account's token is
        sent, its own or the one on behalf of a user. Raises Unavailable when the neighbour does not
        answer, BadGateway for a response that is not JSON, and the error of its status for a 4xx.
        """
        seconds = min(timeout or self.timeout, get_seconds_left())
        request = self._client.build_request(
            method, endpoint, headers=headers, json=data, **content
        )
        account = None if "Authorization" in request.headers else self.account
        replayable = method in IDEMPOTENT_METHODS or "Idempotency-Key" in request.headers
        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(partial(should_retry, replayable)),
            stop=tenacity.stop_after_attempt(MAX_ATTEMPTS) | tenacity.stop_before_delay(seconds),
            wait=compute_retry_delay,
            reraise=True,
        )
        with trace_context(get_trace_id(), seconds):
            for name, value in build_trace_headers().items():
                request.headers.setdefault(name, value)
            attempt = partial(self._attempt, request, account, on_behalf_of)
            response: httpx.Response = await attempts(attempt)
        try:
            return response.json() if response.content else None
        except ValueError as error:
            message = f"{self.target} sent a response that is not JSON"
            raise BadGateway(message, target=self.target) from error

    def call_from_thread(self, *args: Any, **kwargs: Any) -> Any:
        """Call make_request from a thread: a `def` endpoint or a Celery task."""
        return run_from_thread(partial(self.make_request, *args, **kwargs))

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _attempt(
        self, request: httpx.Request, account: Account | None, on_behalf_of: str | None
    ) -> httpx.Response:
        request.headers[TIMEOUT_HEADER] = str(max(0, int(get_seconds_left() * 1000)))
        if account:
            request.headers["Authorization"] = f"Bearer {await account.get_token(on_behalf_of)}"
        try:
            async with await self._breakers.get_breaker(self.target):
                response = await self._send(request)
        except OpenedState as error:
            message = f"{self.target} is not answering; calls to it are paused for a moment"
            raise Unavailable(
                message, retry_after=BREAKER_RECOVERY_SECONDS, target=self.target
            ) from error
        if response.status_code == 401 and account:
            # The token was revoked, or identity was reset: the next attempt gets a new one.
            account.forget_token(on_behalf_of)
            raise NotSent(f"{self.target} refused this service's token", target=self.target)
        if response.is_error:
            raise create_refusal(response, self.target)
        return response

    async def _send(self, request: httpx.Request) -> httpx.Response:
        """Raise the failures of the neighbour, which the circuit breaker counts."""
        left = get_seconds_left()
        try:
            async with asyncio.timeout(left):
                response = await self._client.send(request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise NotSent(f"{self.target} cannot be reached", target=self.target) from error
        except (httpx.RequestError, TimeoutError) as error:
            kind = DeadlineTooShort if left < MIN_FAIR_TIMEOUT_SECONDS else Unavailable
            raise kind(f"{self.target} did not answer", target=self.target) from error
        if response.status_code in (502, 503, 504):
            wait = parse_retry_after(response.headers) or 1
            message = f"{self.target} is unavailable"
            raise Unavailable(message, retry_after=wait, target=self.target)
        if not response.is_success and not response.is_client_error:
            raise BadGateway(f"{self.target} failed", target=self.target)
        return response


def run_from_thread(function: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run the coroutine in the event loop that this thread works for, or else in the PORTAL."""
    try:
        anyio.from_thread.check_cancelled()
    except anyio.NoEventLoopError:
        return PORTAL.__enter__().call(function)
    return anyio.from_thread.run(function)


def create_refusal(response: httpx.Response, target: str) -> ServiceError:
    """Make an error from a neighbour's 4xx, with the same status and detail."""
    try:
        detail = str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"{target} answered {response.status_code}"
    error = create_error(response.status_code, detail, target=target)
    if wait := parse_retry_after(response.headers):
        error.headers["Retry-After"] = str(ceil(wait))
    return error


def parse_retry_after(headers: Mapping[str, str]) -> float:
    """Parse the header, a number of seconds or a date, into seconds; 0 without it."""
    given = headers.get("Retry-After", "").strip()
    if given.isascii() and given.isdecimal():
        return min(float(given), MAX_RETRY_AFTER_SECONDS)
    try:
        left = (parsedate_to_datetime(given) - datetime.now(UTC)).total_seconds()
        return min(max(0.0, left), MAX_RETRY_AFTER_SECONDS)
    except (TypeError, ValueError, OverflowError):
        return 0.0


def should_retry(replayable: bool, error: BaseException) -> bool:
    if isinstance(error, NotSent):
        return True
    return (
        replayable
        and isinstance(error, Unavailable | TooManyRequests)
        and get_requested_delay(error) <= 1
    )


def get_requested_delay(error: BaseException | None) -> float:
    """Return the seconds that the neighbour asked to wait."""
    return float(error.headers.get("Retry-After", "0")) if isinstance(error, ServiceError) else 0


def compute_retry_delay(state: tenacity.RetryCallState) -> float:
    """Compute an exponential delay with jitter, at least what a busy neighbour asked for."""
    error = state.outcome.exception() if state.outcome else None
    return max(
        backoff(state), get_requested_delay(error) if isinstance(error, TooManyRequests) else 0
    )


def record_breaker_state(peer: str, event: str, message: Any) -> None:
    if event == "state_changed":
        CIRCUIT_STATE.labels(peer).set(message.state == "opened")
