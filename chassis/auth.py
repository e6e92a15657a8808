"""Who is calling and what they may do (specification: "Authentication Integration").

The hot path asks nobody: identity's answer for a token is kept until identity's change feed
says otherwise. When the feed falls silent for `auth_max_staleness_seconds`, what is kept is not
trusted any more and every request asks identity again.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from time import monotonic
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, FastAPI, Request
from fastapi.openapi.models import HTTPBearer
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.security.base import SecurityBase
from pydantic import AwareDatetime, TypeAdapter, ValidationError
from starlette.types import Receive, Scope, Send

from .errors import Forbidden, ServiceError, Unauthenticated, Unavailable
from .service_client import ServiceClient
from .settings import Settings
from .tracing import get_trace_id, trace_context

logger = logging.getLogger(__name__)

VALIDATE_TIMEOUT_SECONDS = 3.0  # seconds
FEED_WAIT_SECONDS = 2.0  # seconds identity holds a poll open when nothing changes
FEED_RETRY_SECONDS = 0.25
FORM_HEADERS = {"Content-Type": "application/x-www-form-urlencoded"}
TOKEN_RENEWAL_MARGIN_SECONDS = 30.0  # seconds before its end at which a service token is replaced
MAX_CACHED_USERS = 10_000
METHODS_WITH_BODY = {"POST", "PUT", "PATCH"}
BEARER_PATTERN = re.compile(
    rb"(?i:bearer) +([!-~]+) *"
)  # the flag for all of it is six times slower


@dataclass(frozen=True, slots=True)
class User:
    """Who a token speaks for. `actor` is the service that acts for the user, if one does."""

    user_id: str
    email: str | None
    roles: tuple[str, ...]
    permissions: frozenset[str]
    expires_at: AwareDatetime
    session_id: str | None = None
    actor: str | None = None

    def has_permission(self, permission: str) -> bool:
        return permission in self.permissions or "*" in self.permissions

    @property
    def is_service(self) -> bool:
        """A service with a token of its own, acting for nobody."""
        return "service" in self.roles


USER_ADAPTER = TypeAdapter(User)  # from the body of identity's /auth/validate


class Bearer(SecurityBase):
    """The one dependency of a protected endpoint: the user of the token, if permitted."""

    def __init__(self, permission: str | None = None) -> None:
        self.permission = permission
        self.model = HTTPBearer()
        self.scheme_name = "Bearer"

    async def __call__(self, request: Request) -> User:
        user = await get_current_user(request)
        if self.permission is not None and not user.has_permission(self.permission):
            raise Forbidden(f"This needs the permission {self.permission}")
        return user


async def get_current_user(request: Request) -> User:
    """Whom the request's token speaks for: looked at once, however many dependencies ask."""
    if "user" not in request.scope:
        request.scope["user"] = await request.app.state.authenticate(get_bearer_token(request))
    found: User = request.scope["user"]
    return found


def get_bearer_token(request: Request) -> str:
    for name, value in request.scope["headers"]:
        if name == b"authorization" and (match := BEARER_PATTERN.fullmatch(value)):
            return match[1].decode()
    raise Unauthenticated()


def require_permission(permission: str) -> Any:
    """`Author = Annotated[User, require_permission("documents:write")]`"""
    return Depends(Bearer(permission))


CurrentUser = Annotated[User, Depends(Bearer())]


def authenticate_before_body(app: FastAPI) -> None:
    """FastAPI takes in a body before it asks for a token: a stranger's is not even read."""
    for context in iter_route_contexts(app.routes):
        route: Any = context.original_route
        is_ours = isinstance(route, APIRoute) and requires_token(route.dependant)
        if is_ours and route.methods & METHODS_WITH_BODY:
            route.handle = partial(authenticate_and_handle, route)


def requires_token(dependant: Any) -> bool:
    return isinstance(dependant.call, Bearer) or any(map(requires_token, dependant.dependencies))


async def authenticate_and_handle(route: Any, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["method"] in route.methods:
        await get_current_user(Request(scope))
    await type(route).handle(route, scope, receive, send)


class RemoteAuthenticator:
    """Asks identity once per token and remembers, for as long as the change feed is heard."""

    def __init__(self, identity: ServiceClient, feed: ServiceClient, max_staleness: float) -> None:
        self._identity, self._feed = identity, feed
        self._max_staleness = max_staleness
        self._users: dict[bytes, User] = {}
        self._ended_users: dict[bytes, User] = {}  # refused, whether identity answers or not
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
        question = digest, self._position
        return await asyncio.shield(
            self._validations.get(question) or self._start_validation(question, token)
        )

    def _is_fresh(self) -> bool:
        return monotonic() - self._last_poll_at <= self._max_staleness

    def _start_validation(
        self, question: tuple[bytes, int | None], token: str
    ) -> asyncio.Task[User]:
        """Requests that see a token for the first time, with no change between, ask together."""
        task = asyncio.create_task(self._validate_and_cache(*question, token))
        self._validations[question] = task
        task.add_done_callback(lambda _: self._validations.pop(question))
        return task

    async def _validate_and_cache(self, digest: bytes, seq: int | None, token: str) -> User:
        with trace_context(
            get_trace_id()
        ):  # without the deadline of the first who asks: others wait too
            user = await validate_token(self._identity, token)
        # An answer that a change overtook may be out of date: it serves once and is not kept.
        if self._position == seq and self._is_fresh():
            cache_user(self._users, digest, user)
        return user

    async def follow_change_feed(self) -> None:
        """Follows identity's change feed for ever; runs as a task of the lifespan."""
        silent = False
        while True:
            try:
                with trace_context():
                    await self._poll_change_feed()
                silent = False
            except Exception as error:  # whatever it is, the next poll may work
                if not silent:
                    logger.warning("identity's change feed is silent: %s", error)
                silent = True
                await asyncio.sleep(FEED_RETRY_SECONDS)

    async def _poll_change_feed(self) -> None:
        # After a silence the first answer counts, whether anything has changed or not.
        wait = min(FEED_WAIT_SECONDS, self._max_staleness / 2) if self._is_fresh() else 0
        feed = await self._feed.make_request(
            "GET",
            "/api/v1/auth/changes",
            params={} if self._position is None else {"after": self._position, "wait": wait},
            timeout=wait + 1,
        )
        if feed["reset"]:
            self._users.clear()
        for change in feed["changes"]:
            self._drop_users(change["user_id"], change["session_id"])
        self._position = feed["latest"]
        self._last_poll_at = monotonic()

    def _drop_users(self, user_id: str | None, session_id: str | None) -> None:
        """One session, which is over; all of a user's; or everything when neither is named."""
        for digest, user in list(self._users.items()):
            if session_id is not None and user.session_id == session_id:
                cache_user(self._ended_users, digest, self._users.pop(digest))
            elif session_id is None and user_id in (None, user.user_id):
                del self._users[digest]


def cache_user(kept: dict[bytes, User], digest: bytes, user: User) -> None:
    """The youngest so many."""
    while len(kept) >= MAX_CACHED_USERS:
        del kept[next(iter(kept))]
    kept[digest] = user


async def validate_token(identity: ServiceClient, token: str) -> User:
    """Identity's word on a token. A failing identity is 503, never 401."""
    headers = {"Authorization": f"Bearer {token}"}
    try:
        answer = await identity.make_request(
            "POST", "/api/v1/auth/validate", headers=headers, timeout=VALIDATE_TIMEOUT_SECONDS
        )
        return USER_ADAPTER.validate_python(answer)
    except ServiceError as error:
        if error.status_code in (401, 403):
            raise Unauthenticated("Invalid or expired token") from error
        raise Unavailable("Identity service unavailable", target=identity.target) from error
    except ValidationError as error:
        raise Unavailable("Identity's answer makes no sense", target=identity.target) from error


class ServiceAccount:
    """This service's tokens (OAuth2 client credentials), its own or on behalf of a user."""

    def __init__(self, settings: Settings, transport: Any = None) -> None:
        self._identity = create_identity_client(settings, transport)
        self._credentials = {
            "grant_type": "client_credentials",
            "client_id": settings.service_client_id,
            "client_secret": settings.service_client_secret.get_secret_value(),
        }
        self._tokens: dict[str | None, tuple[str, float]] = {}

    async def get_token(self, on_behalf_of: str | None = None) -> str:
        token, good_until = self._tokens.get(on_behalf_of, ("", 0.0))
        return token if monotonic() < good_until else await self._fetch_token(on_behalf_of)

    def forget_token(self, on_behalf_of: str | None = None) -> None:
        self._tokens.pop(on_behalf_of, None)

    async def _fetch_token(self, on_behalf_of: str | None) -> str:
        form = self._credentials | ({"on_behalf_of": on_behalf_of} if on_behalf_of else {})
        try:
            answer = await self._identity.make_request(
                "POST", "/api/v1/auth/token", headers=FORM_HEADERS, content=urlencode(form)
            )
            token, lifetime = str(answer["access_token"]), float(answer["expires_in"])
        except Unauthenticated as error:
            raise Unavailable("Identity refuses this service's SERVICE_CLIENT_SECRET") from error
        except (KeyError, TypeError, ValueError) as error:
            raise Unavailable("Identity's answer makes no sense") from error
        if len(self._tokens) >= MAX_CACHED_USERS:
            self._tokens.clear()
        self._tokens[on_behalf_of] = token, monotonic() + lifetime - TOKEN_RENEWAL_MARGIN_SECONDS
        return token

    async def aclose(self) -> None:
        await self._identity.aclose()


def create_identity_client(
    settings: Settings, transport: Any, account: Any = None
) -> ServiceClient:
    url, name = settings.identity_service_url, settings.service_name
    return ServiceClient(url, name, target="identity-service", transport=transport, account=account)


@asynccontextmanager
async def remote_authentication(app: FastAPI) -> AsyncIterator[None]:
    """How every service but identity itself authenticates: gives app.state its `authenticate`."""
    settings: Settings = app.state.settings
    account = ServiceAccount(settings, app.state.transport)
    identity = create_identity_client(settings, app.state.transport, account)
    # With a circuit of its own: a feed that fails must not keep tokens from being looked at.
    feed = create_identity_client(settings, app.state.transport, account)
    authenticator = RemoteAuthenticator(identity, feed, settings.auth_max_staleness_seconds)
    app.state.account, app.state.identity, app.state.authenticate = account, identity, authenticator
    follower = asyncio.create_task(authenticator.follow_change_feed())
    try:
        yield
    finally:
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)
        await feed.aclose()
        await identity.aclose()
        await account.aclose()
