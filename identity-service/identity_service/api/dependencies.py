"""What endpoints share: who may call them, and the hash of a password in the body."""

from datetime import timedelta
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy import select

from chassis.auth import CurrentUser, User, get_bearer_token, require_permission
from chassis.clock import now
from chassis.errors import Forbidden, Unauthenticated
from chassis.idempotency import idempotent
from chassis.openapi import raises

from ..crypto import passwords
from ..crypto.tokens import is_api_key
from ..database import DbSession, autocommit_engine
from ..models import LoginSession
from ..schemas.users import Registration
from ..settings import settings

STEP_UP_LIFETIME = timedelta(seconds=settings.step_up_seconds)

UserAdmin = Annotated[User, require_permission("users:write")]
RoleReader = Annotated[User, require_permission("roles:read")]
RoleAdmin = Annotated[User, require_permission("roles:write")]
IdempotencyKey = Annotated[None, idempotent(DbSession)]


class LoginRequired(Forbidden):
    """Raised for services and API keys: this needs the token of a login."""


class InsufficientUserAuthentication(Unauthenticated):
    """Raised with a valid token when the last login or step-up is too long ago (RFC 9470)."""

    def __init__(self) -> None:
        super().__init__("Please prove your identity again with POST /auth/step-up")
        challenge = 'Bearer error="insufficient_user_authentication"'
        self.headers["WWW-Authenticate"] = f"{challenge}, max_age={settings.step_up_seconds}"


@raises(LoginRequired)
async def require_person(request: Request, user: CurrentUser) -> User:
    if user.is_service or user.actor or is_api_key(get_bearer_token(request)):
        raise LoginRequired("This needs the token of a login; services and API keys cannot do it")
    return user


Person = Annotated[User, Depends(require_person)]
"""A user with a session of their own: not a service, not one acting for them, not an API key."""


@raises(InsufficientUserAuthentication)
async def require_recent_step_up(person: Person) -> User:
    is_recent = select(LoginSession.proved_at > now() - STEP_UP_LIFETIME)
    async with autocommit_engine.connect() as connection:
        found = await connection.execute(is_recent.where(LoginSession.id == person.session_id))
    if not found.scalar():
        raise InsufficientUserAuthentication
    return person


SteppedUpPerson = Annotated[User, Depends(require_recent_step_up)]
"""A person who has logged in or stepped up within STEP_UP_SECONDS."""


def require_self_or(permission: str, allow_services: bool = False) -> Any:
    """Allows the user named in the path, and callers with the permission."""

    @raises(Forbidden)
    async def check(user_id: UUID, user: CurrentUser) -> User:
        is_self = user.user_id == str(user_id)
        is_allowed_service = allow_services and user.is_service
        if is_self or user.has_permission(permission) or is_allowed_service:
            return user
        raise Forbidden(f"This needs the permission {permission}")

    return Depends(check)


NewUser = TypeVar("NewUser", bound=Registration)


def with_password_hash(body_type: type[NewUser]) -> Any:
    """Hashes the password of the body. Put it before IdempotencyKey, which holds a connection."""

    async def hash_password(new: body_type) -> tuple[NewUser, str]:  # type: ignore[valid-type]
        return new, await passwords.hash_new_password(new.password)  # type: ignore[attr-defined]

    return Depends(hash_password)
