"""Calls to a neighbour service: one pool, a deadline, bounded retries and a circuit breaker."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
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
MAX_RETRY_AFTER_SECONDS = 86400.0  # seconds; nobody is waited for longer
MIN_FAIR_TIMEOUT_SECONDS = 1.0  # a neighbour that had less to answer in has not failed
CONNECT_TIMEOUT = httpx.Timeout(None, connect=2.0)
# Idle connections are closed before uvicorn closes them, which is after five seconds.
POOL_LIMITS = httpx.Limits(max_connections=100, keepalive_expiry=3.0)
IDEMPOTENT_METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")

# The event loop of a process that has none, such as a Celery worker: its own thread, never left.
PORTAL = anyio.from_thread.BlockingPortalProvider()

backoff = tenacity.wait_random_exponential(multiplier=0.1, max=1)


class Account(Protocol):
    """Whose tokens go with the calls: see auth.ServiceAccount."""

    async def get_token(self, on_behalf_of: str | None = None) -> str: ...

    def forget_token(self, on_behalf_of: str | None = None) -> None: ...


class NotSent(Unavailable):
    """The neighbour did nothing yet, so that any call may be tried again."""


class DeadlineTooShort(Unavailable):
    """The neighbour had too little time: the caller's doing, and no reason to open the circuit."""


class ServiceClient:
    """`service_name` is the caller's own name; `target` the neighbour's, for errors and metrics.

    Nothing is connected before the first call. Give it a `transport` and no network is used.
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
        self.account, self.timeout = account, timeout
        own = {"X-Service-Name": service_name}
        self._client = httpx.AsyncClient(
            base_url=base_url,
            transport=transport,
            headers=own,
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
        """The parsed JSON answer, or None when it has no body. `timeout` is in seconds, in all.

        `data` is sent as JSON; `content` goes to httpx: params, files, content. With an account
        and no Authorization given, sends the service's own token, or the one for the user it acts
        for. Raises Unavailable when the neighbour does not answer, BadGateway when the answer is
        not JSON, and the error of the same status for a 4xx.
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
            raise BadGateway(f"{self.target} did not answer JSON", target=self.target) from error

    def call_from_thread(self, *args: Any, **kwargs: Any) -> Any:
        """make_request for code in a thread: `def` endpoints and Celery tasks."""
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
            message = f"{self.target} is not answering; calls to it pause for a moment"
            raise Unavailable(
                message, retry_after=BREAKER_RECOVERY_SECONDS, target=self.target
            ) from error
        if response.status_code == 401 and account:
            account.forget_token(
                on_behalf_of
            )  # identity was reset, or the token revoked: get a new one
            raise NotSent(f"{self.target} refused this service's token", target=self.target)
        if response.is_error:
            raise create_refusal(response, self.target)
        return response

    async def _send(self, request: httpx.Request) -> httpx.Response:
        """The answer, unless it is the neighbour's failure: those count for the breaker."""
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
    """Waits for the coroutine: in the loop that this thread works for, else in the PORTAL."""
    try:
        anyio.from_thread.check_cancelled()
    except anyio.NoEventLoopError:
        return PORTAL.__enter__().call(function)
    return anyio.from_thread.run(function)


def create_refusal(response: httpx.Response, target: str) -> ServiceError:
    """A 4xx as our error of the same status, with the neighbour's words."""
    try:
        detail = str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"{target} answered {response.status_code}"
    error = create_error(response.status_code, detail, target=target)
    if wait := parse_retry_after(response.headers):
        error.headers["Retry-After"] = str(ceil(wait))
    return error


def parse_retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that an answer asks to wait for, given as a number or a date; 0 if it does not."""
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
    """The pause in seconds that the neighbour asked for."""
    return float(error.headers.get("Retry-After", "0")) if isinstance(error, ServiceError) else 0


def compute_retry_delay(state: tenacity.RetryCallState) -> float:
    """Exponential with jitter; a neighbour that is too busy gets the time it asked for."""
    error = state.outcome.exception() if state.outcome else None
    return max(
        backoff(state), get_requested_delay(error) if isinstance(error, TooManyRequests) else 0
    )


def record_breaker_state(peer: str, event: str, message: Any) -> None:
    if event == "state_changed":
        CIRCUIT_STATE.labels(peer).set(message.state == "opened")
