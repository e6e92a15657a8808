"""Calls to a neighbour service: one pool, a deadline, bounded retries and a circuit breaker."""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import cache, partial
from time import monotonic
from typing import Any, Protocol

import anyio.from_thread
import httpx
import purgatory
from purgatory.domain.model import OpenedState
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from .errors import BadGateway, ServiceError, TooManyRequests, Unavailable, from_status
from .metrics import CIRCUIT_STATE
from .tracing import TIMEOUT_HEADER, outgoing_headers, seconds_left

ATTEMPTS = 3
BREAK_AFTER = 5  # failures in a row
RECOVERY_SECONDS = 2
IDEMPOTENT_METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")

backoff = wait_random_exponential(multiplier=0.1, max=1)


class Account(Protocol):
    """Whose tokens go with the calls: see auth.ServiceAccount."""

    async def token(self, on_behalf_of: str | None = None) -> str: ...

    def forget(self, on_behalf_of: str | None = None) -> None: ...


class Unsent(Unavailable):
    """The neighbour could not be reached, so it saw nothing: any call may be tried again."""


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
        self.base_url = base_url
        self.service_name = service_name
        self.target = target or httpx.URL(base_url).host
        self.account = account
        self.timeout = timeout
        self._client = httpx.AsyncClient(
            base_url=base_url, transport=transport, headers={"X-Service-Name": service_name}
        )
        self._breakers = purgatory.AsyncCircuitBreakerFactory(BREAK_AFTER, RECOVERY_SECONDS)
        self._breakers.add_listener(self._note_state)

    async def make_request(
        self,
        method: str,
        endpoint: str,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        form: Mapping[str, Any] | None = None,
        files: Mapping[str, Any] | None = None,
        on_behalf_of: str | None = None,
        timeout: float | None = None,
    ) -> Any:
        """The parsed JSON answer, or None when it has no body. `timeout` is in seconds, in all.

        With an account and no Authorization given, sends the service's own token, or the one
        for the user it acts for. Raises Unavailable when the neighbour does not answer,
        BadGateway when the answer is not JSON, and the error of the same status for a 4xx.
        """
        sent = httpx.Headers(headers)
        own = self.account if "Authorization" not in sent else None
        attempt = partial(
            self._attempt, method, endpoint, sent, own, on_behalf_of,
            deadline=monotonic() + self._patience(timeout),
            json=data, params=params, data=form, files=files,
        )  # fmt: skip
        replayable = method in IDEMPOTENT_METHODS or "Idempotency-Key" in sent
        response: httpx.Response = await AsyncRetrying(
            retry=retry_if_exception(partial(may_retry, replayable)),
            stop=stop_after_attempt(ATTEMPTS),
            wait=pause,
            reraise=True,
        )(attempt)
        return self._parsed(response)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """make_request for code in a thread: `def` endpoints and Celery tasks."""
        function = partial(self.make_request, *args, **kwargs)
        try:
            anyio.from_thread.check_cancelled()
        except anyio.NoEventLoopError:
            return process_portal().call(function)
        return anyio.from_thread.run(function)

    async def aclose(self) -> None:
        await self._client.aclose()

    def _patience(self, timeout: float | None) -> float:
        """The call's own limit, or what is left of the caller's, whichever is less."""
        patience, left = timeout or self.timeout, seconds_left()
        return patience if left is None else min(patience, left)

    async def _attempt(
        self,
        method: str,
        endpoint: str,
        headers: httpx.Headers,
        account: Account | None,
        on_behalf_of: str | None,
        *,
        deadline: float,
        **content: Any,
    ) -> httpx.Response:
        timeout = deadline - monotonic()
        if timeout <= 0:
            raise Unavailable(f"No time left to ask {self.target}", target=self.target)
        headers = httpx.Headers(
            {**outgoing_headers(), TIMEOUT_HEADER: str(int(timeout * 1000)), **headers}
        )
        if account:
            headers["Authorization"] = f"Bearer {await account.token(on_behalf_of)}"
        limits = httpx.Timeout(timeout, connect=min(2.0, timeout))
        breaker = await self._breakers.get_breaker(self.target)
        try:
            async with breaker:
                response = await self._send(method, endpoint, headers, limits, content)
        except OpenedState as error:
            message = f"{self.target} is not answering; calls to it pause for a moment"
            raise Unavailable(message, retry_after=RECOVERY_SECONDS, target=self.target) from error
        if response.status_code == 401 and account:
            account.forget(on_behalf_of)  # identity was reset, or the token revoked: get a new one
            raise Unsent(f"{self.target} refused this service's token", target=self.target)
        if response.is_error:
            raise self._refusal(response)
        return response

    async def _send(
        self,
        method: str,
        endpoint: str,
        headers: httpx.Headers,
        limits: httpx.Timeout,
        content: Any,
    ) -> httpx.Response:
        try:
            response = await self._client.request(
                method, endpoint, headers=headers, timeout=limits, **content
            )
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unsent(f"{self.target} cannot be reached", target=self.target) from error
        except httpx.TransportError as error:
            raise Unavailable(f"{self.target} did not answer", target=self.target) from error
        if response.status_code in (502, 503, 504):
            raise Unavailable(
                f"{self.target} is unavailable",
                retry_after=retry_after(response),
                target=self.target,
            )
        if response.status_code >= 500:
            raise BadGateway(f"{self.target} failed", target=self.target)
        return response

    def _refusal(self, response: httpx.Response) -> ServiceError:
        try:
            detail = str(response.json()["detail"])
        except (ValueError, KeyError, TypeError):
            detail = f"{self.target} answered {response.status_code}"
        error = from_status(response.status_code, detail, target=self.target)
        if "Retry-After" in response.headers:
            error.headers["Retry-After"] = response.headers["Retry-After"]
        return error

    def _parsed(self, response: httpx.Response) -> Any:
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise BadGateway(f"{self.target} did not answer JSON", target=self.target) from error

    def _note_state(self, peer: str, event: str, message: Any) -> None:
        if event == "state_changed":
            CIRCUIT_STATE.labels(peer).set(message.state == "opened")


def may_retry(replayable: bool, error: BaseException) -> bool:
    if isinstance(error, Unsent):
        return True
    if isinstance(error, TooManyRequests):
        return replayable and float(error.headers.get("Retry-After", "60")) <= 1
    return replayable and isinstance(error, Unavailable) and error.retry_after <= 1


def pause(state: RetryCallState) -> float:
    """Seconds before the next attempt: exponential with jitter, at least Retry-After."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.headers.get("Retry-After", "0") if isinstance(error, TooManyRequests) else "0"
    return max(backoff(state), float(asked))


def retry_after(response: httpx.Response) -> float:
    given = response.headers.get("Retry-After", "")
    return float(given) if given.isdecimal() else 1.0


@cache
def process_portal() -> anyio.from_thread.BlockingPortal:
    """The one event loop of a process that has none, such as a Celery worker."""
    return ExitStack().enter_context(anyio.from_thread.start_blocking_portal())
