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

from .errors import BadGateway, ServiceError, TooManyRequests, Unavailable, from_status
from .observability import CIRCUIT_STATE
from .tracing import TIMEOUT_HEADER, outgoing_headers, seconds_left, trace_id, traced

ATTEMPTS = 3
BREAK_AFTER = 5  # failures in a row
RECOVERY_SECONDS = 2
DAY = 86400.0  # seconds; nobody is waited for longer
FAIR_SECONDS = 1.0  # a neighbour that had less to answer in has not failed
CONNECT = httpx.Timeout(None, connect=2.0)
# Idle connections are closed before uvicorn closes them, which is after five seconds.
LIMITS = httpx.Limits(max_connections=100, keepalive_expiry=3.0)
IDEMPOTENT_METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")

# The event loop of a process that has none, such as a Celery worker: its own thread, never left.
PORTAL = anyio.from_thread.BlockingPortalProvider()

backoff = tenacity.wait_random_exponential(multiplier=0.1, max=1)


class Account(Protocol):
    """Whose tokens go with the calls: see auth.ServiceAccount."""

    async def token(self, on_behalf_of: str | None = None) -> str: ...

    def forget(self, on_behalf_of: str | None = None) -> None: ...


class Unsent(Unavailable):
    """The neighbour did nothing yet, so that any call may be tried again."""


class Hurried(Unavailable):
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
            base_url=base_url, transport=transport, headers=own, limits=LIMITS, timeout=CONNECT
        )
        self._breakers = purgatory.AsyncCircuitBreakerFactory(
            BREAK_AFTER, RECOVERY_SECONDS, exclude=[Hurried, asyncio.CancelledError]
        )
        self._breakers.add_listener(note_state)

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
        seconds = min(timeout or self.timeout, seconds_left())
        request = self._client.build_request(
            method, endpoint, headers=headers, json=data, **content
        )
        account = None if "Authorization" in request.headers else self.account
        replayable = method in IDEMPOTENT_METHODS or "Idempotency-Key" in request.headers
        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(partial(may_retry, replayable)),
            stop=tenacity.stop_after_attempt(ATTEMPTS) | tenacity.stop_before_delay(seconds),
            wait=pause,
            reraise=True,
        )
        with traced(trace_id(), seconds):
            for name, value in outgoing_headers().items():
                request.headers.setdefault(name, value)
            attempt = partial(self._attempt, request, account, on_behalf_of)
            response: httpx.Response = await attempts(attempt)
        try:
            return response.json() if response.content else None
        except ValueError as error:
            raise BadGateway(f"{self.target} did not answer JSON", target=self.target) from error

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """make_request for code in a thread: `def` endpoints and Celery tasks."""
        return from_any_thread(partial(self.make_request, *args, **kwargs))

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _attempt(
        self, request: httpx.Request, account: Account | None, on_behalf_of: str | None
    ) -> httpx.Response:
        request.headers[TIMEOUT_HEADER] = str(max(0, int(seconds_left() * 1000)))
        if account:
            request.headers["Authorization"] = f"Bearer {await account.token(on_behalf_of)}"
        try:
            async with await self._breakers.get_breaker(self.target):
                response = await self._send(request)
        except OpenedState as error:
            message = f"{self.target} is not answering; calls to it pause for a moment"
            raise Unavailable(message, retry_after=RECOVERY_SECONDS, target=self.target) from error
        if response.status_code == 401 and account:
            account.forget(on_behalf_of)  # identity was reset, or the token revoked: get a new one
            raise Unsent(f"{self.target} refused this service's token", target=self.target)
        if response.is_error:
            raise refusal(response, self.target)
        return response

    async def _send(self, request: httpx.Request) -> httpx.Response:
        """The answer, unless it is the neighbour's failure: those count for the breaker."""
        left = seconds_left()
        try:
            async with asyncio.timeout(left):
                response = await self._client.send(request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unsent(f"{self.target} cannot be reached", target=self.target) from error
        except (httpx.RequestError, TimeoutError) as error:
            kind = Hurried if left < FAIR_SECONDS else Unavailable
            raise kind(f"{self.target} did not answer", target=self.target) from error
        if response.status_code in (502, 503, 504):
            wait = retry_after(response.headers) or 1
            message = f"{self.target} is unavailable"
            raise Unavailable(message, retry_after=wait, target=self.target)
        if not response.is_success and not response.is_client_error:
            raise BadGateway(f"{self.target} failed", target=self.target)
        return response


def from_any_thread(function: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Waits for the coroutine: in the loop that this thread works for, else in the PORTAL."""
    try:
        anyio.from_thread.check_cancelled()
    except anyio.NoEventLoopError:
        return PORTAL.__enter__().call(function)
    return anyio.from_thread.run(function)


def refusal(response: httpx.Response, target: str) -> ServiceError:
    """A 4xx as our error of the same status, with the neighbour's words."""
    try:
        detail = str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"{target} answered {response.status_code}"
    error = from_status(response.status_code, detail, target=target)
    if wait := retry_after(response.headers):
        error.headers["Retry-After"] = str(ceil(wait))
    return error


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that an answer asks to wait for, given as a number or a date; 0 if it does not."""
    given = headers.get("Retry-After", "").strip()
    if given.isascii() and given.isdecimal():
        return min(float(given), DAY)
    try:
        left = (parsedate_to_datetime(given) - datetime.now(UTC)).total_seconds()
        return min(max(0.0, left), DAY)
    except (TypeError, ValueError, OverflowError):
        return 0.0


def may_retry(replayable: bool, error: BaseException) -> bool:
    if isinstance(error, Unsent):
        return True
    return replayable and isinstance(error, Unavailable | TooManyRequests) and asked(error) <= 1


def asked(error: BaseException | None) -> float:
    """The pause in seconds that the neighbour asked for."""
    return float(error.headers.get("Retry-After", "0")) if isinstance(error, ServiceError) else 0


def pause(state: tenacity.RetryCallState) -> float:
    """Exponential with jitter; a neighbour that is too busy gets the time it asked for."""
    error = state.outcome.exception() if state.outcome else None
    return max(backoff(state), asked(error) if isinstance(error, TooManyRequests) else 0)


def note_state(peer: str, event: str, message: Any) -> None:
    if event == "state_changed":
        CIRCUIT_STATE.labels(peer).set(message.state == "opened")
