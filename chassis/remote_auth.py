"""Token validation by identity, cached (specification: "Authentication Integration").

No request calls identity in the steady state: its response for a token is cached until identity's
change feed names the user. When the feed has been silent for `auth_max_staleness_seconds`, the
cache is not used and every request calls identity.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256
from time import monotonic

import httpx
from fastapi import FastAPI

from .auth import User
from .background import background_task
from .contracts import POLL_CHANGES, REQUEST_TOKEN, VALIDATE_TOKEN, TokenRequest
from .errors import BadGateway, ServiceError, Unauthenticated, Unavailable
from .service_client import Account, ServiceClient
from .settings import Settings
from .tracing import get_trace_id, trace_context

VALIDATE_TIMEOUT_SECONDS = 3.0
FEED_WAIT_SECONDS = 2.0  # identity holds a poll open for so long when nothing changes
FEED_RETRY_SECONDS = 0.25
TOKEN_RENEWAL_MARGIN_SECONDS = 30.0  # a service token is replaced this long before it expires
MAX_CACHED_USERS = 10_000
MAX_CACHED_TOKENS = 10_000


class RemoteAuthenticator:
    """Validates each token once with identity and caches the user as long as the feed is heard."""

    def __init__(self, identity: ServiceClient, feed: ServiceClient, max_staleness: float) -> None:
        self.max_cached_users = MAX_CACHED_USERS
        self._identity = identity
        self._feed = feed
        self._max_staleness = max_staleness
        self._users: dict[bytes, User] = {}
        self._ended_users: dict[bytes, User] = {}  # of ended sessions: rejected without identity
        self._validations: dict[tuple[bytes, int | None], asyncio.Task[User]] = {}
        self._position: int | None = None
        self._last_poll_at = float("-inf")

    async def __call__(self, token: str) -> User:
        digest = sha256(token.encode()).digest()
        user = self._users.get(digest)
        if user is not None and self._is_fresh() and user.expires_at > datetime.now(UTC):
            return user
        if digest in self._ended_users:
            raise Unauthenticated("Invalid or expired token")
        key = digest, self._position
        return await asyncio.shield(
            self._validations.get(key) or self._start_validation(key, token)
        )

    def _is_fresh(self) -> bool:
        return monotonic() - self._last_poll_at <= self._max_staleness

    def _start_validation(self, key: tuple[bytes, int | None], token: str) -> asyncio.Task[User]:
        """Share one call to identity among the requests that bring a new token together."""
        task = asyncio.create_task(self._validate_and_cache(*key, token))
        self._validations[key] = task
        task.add_done_callback(lambda _: self._validations.pop(key))
        return task

    async def _validate_and_cache(self, digest: bytes, position: int | None, token: str) -> User:
        # Without the deadline of the first request: others wait for the same response.
        with trace_context(get_trace_id()):
            user = await validate_token(self._identity, token)
        # A change that arrived meanwhile may concern this user: the response is used only once.
        if self._position == position and self._is_fresh():
            self._cache_user(self._users, digest, user)
        return user

    async def poll_change_feed(self) -> bool:
        """Wait for the next changes and drop the users they name; there is always more to do."""
        # After a silence, identity answers at once, whether anything has changed or not.
        wait = min(FEED_WAIT_SECONDS, self._max_staleness / 2) if self._is_fresh() else 0
        params = {} if self._position is None else {"after": self._position, "wait": wait}
        with trace_context():
            feed = await POLL_CHANGES.make(self._feed, params=params, timeout=wait + 1)
        if feed["reset"]:
            self._users.clear()
        for change in feed["changes"]:
            self._drop_users(change["user_id"], change["session_id"])
        self._position = feed["latest"]
        self._last_poll_at = monotonic()
        return True

    def _drop_users(self, user_id: str | None, session_id: str | None) -> None:
        """Drop one ended session, all entries of a user, or, when neither is named, every entry."""
        for digest, user in list(self._users.items()):
            if session_id is not None and user.session_id == session_id:
                self._cache_user(self._ended_users, digest, self._users.pop(digest))
            elif session_id is None and user_id in (None, user.user_id):
                del self._users[digest]

    def _cache_user(self, cache: dict[bytes, User], digest: bytes, user: User) -> None:
        """Cache the user; the oldest entries make room."""
        while len(cache) >= self.max_cached_users:
            del cache[next(iter(cache))]
        cache[digest] = user


async def validate_token(identity: ServiceClient, token: str) -> User:
    """Ask identity about a token. A failure of identity is 503, never 401."""
    headers = {"Authorization": f"Bearer {token}"}
    try:
        return await VALIDATE_TOKEN.make(
            identity, headers=headers, timeout=VALIDATE_TIMEOUT_SECONDS
        )
    except ServiceError as error:
        if error.status_code in (401, 403):
            raise Unauthenticated("Invalid or expired token") from error
        raise Unavailable("Identity service unavailable", target=identity.target) from error


class ServiceAccount:
    """Gets this service's tokens (OAuth2 client credentials), its own or on behalf of a user."""

    def __init__(
        self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._identity = create_identity_client(settings, transport)
        self._credentials = TokenRequest(
            grant_type="client_credentials",
            client_id=settings.service_client_id,
            client_secret=settings.service_client_secret.get_secret_value(),
        )
        self._tokens: dict[str | None, tuple[str, float]] = {}

    async def get_token(self, on_behalf_of: str | None = None) -> str:
        token, expires_at = self._tokens.get(on_behalf_of, ("", 0.0))
        return token if monotonic() < expires_at else await self._fetch_token(on_behalf_of)

    def forget_token(self, on_behalf_of: str | None = None) -> None:
        self._tokens.pop(on_behalf_of, None)

    async def _fetch_token(self, on_behalf_of: str | None) -> str:
        form = self._credentials.copy()
        if on_behalf_of:
            form["on_behalf_of"] = on_behalf_of
        try:
            answer = await REQUEST_TOKEN.make(self._identity, form)
        except Unauthenticated as error:
            raise Unavailable("Identity refuses this service's SERVICE_CLIENT_SECRET") from error
        except BadGateway as error:
            raise Unavailable(error.message) from error
        if len(self._tokens) >= MAX_CACHED_TOKENS:
            self._tokens.clear()
        expires_at = monotonic() + answer["expires_in"] - TOKEN_RENEWAL_MARGIN_SECONDS
        self._tokens[on_behalf_of] = answer["access_token"], expires_at
        return answer["access_token"]

    async def aclose(self) -> None:
        await self._identity.aclose()


def create_identity_client(
    settings: Settings,
    transport: httpx.AsyncBaseTransport | None,
    account: Account | None = None,
) -> ServiceClient:
    return ServiceClient(
        settings.identity_service_url,
        settings.service_name,
        target="identity-service",
        transport=transport,
        account=account,
    )


@asynccontextmanager
async def remote_authentication(app: FastAPI) -> AsyncIterator[None]:
    """Give app.state its `authenticate`, as in every service but identity itself."""
    settings: Settings = app.state.settings
    account = ServiceAccount(settings, app.state.transport)
    identity = create_identity_client(settings, app.state.transport, account)
    # Its own circuit breaker: a failing feed must not stop the validation of tokens.
    feed = create_identity_client(settings, app.state.transport, account)
    authenticator = RemoteAuthenticator(identity, feed, settings.auth_max_staleness_seconds)
    app.state.account = account
    app.state.identity = identity
    app.state.authenticate = authenticator
    poll = authenticator.poll_change_feed
    loop = background_task("identity's change feed", poll, FEED_RETRY_SECONDS)
    async with aclosing(account), aclosing(identity), aclosing(feed), loop:
        yield
