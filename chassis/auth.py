"""The user of a request and what they may do (specification: "Authentication Integration").

Where the user comes from is up to `app.state.authenticate`: see remote_auth.py.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from pydantic import AwareDatetime, TypeAdapter

from .errors import Forbidden, Unauthenticated

# (?i:...) around one word: a flag for the whole pattern makes it six times slower.
BEARER_PATTERN = re.compile(rb"(?i:bearer) +([!-~]+) *")


@dataclass(frozen=True, slots=True)
class User:
    """Represents whom a token stands for; `actor` is the service that acts for the user, if any."""

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
        """Tell whether a service calls with its own token, not for a user."""
        return "service" in self.roles


USER_ADAPTER = TypeAdapter(User)  # makes a User of what a validation has found


class Bearer(SecurityBase):
    """Requires a token, and a permission if one is given; the dependency of protected endpoints."""

    def __init__(self, permission: str | None = None) -> None:
        self.permission = permission
        self.model = HTTPBearer(description="An access token or API key of identity-service.")
        self.scheme_name = "Bearer"
        self.raised_errors = (Unauthenticated, Forbidden) if permission else (Unauthenticated,)

    async def __call__(self, request: Request) -> User:
        user = await get_current_user(request)
        if self.permission is not None and not user.has_permission(self.permission):
            raise Forbidden(f"This needs the permission {self.permission}")
        return user


async def get_current_user(request: Request) -> User:
    """Return the user of the request's token, which is validated once per request."""
    if "user" not in request.scope:
        request.scope["user"] = await request.app.state.authenticate(get_bearer_token(request))
    found: User = request.scope["user"]
    return found


def get_bearer_token(request: Request) -> str:
    """Raise Unauthenticated when the request has no token."""
    for name, value in request.scope["headers"]:
        if name == b"authorization" and (match := BEARER_PATTERN.fullmatch(value)):
            return match[1].decode()
    raise Unauthenticated()


def require_permission(permission: str) -> Any:
    """Make a dependency: `Author = Annotated[User, require_permission("documents:write")]`."""
    return Depends(Bearer(permission))


CurrentUser = Annotated[User, Depends(Bearer())]


def find_bearers(dependant: Any) -> Iterator[Bearer]:
    """Yield each Bearer that an endpoint, given as FastAPI's Dependant, depends on."""
    if isinstance(dependant.call, Bearer):
        yield dependant.call
    for dependency in dependant.dependencies:
        yield from find_bearers(dependency)
