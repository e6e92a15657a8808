"""Who may call what only people do for themselves: in person, and for some of it newly proved."""

from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import select

from chassis.auth import CurrentUser, User, get_bearer_token
from chassis.errors import Forbidden, Unauthenticated

from ..crypto.tokens import is_api_key
from ..database import autocommit_engine, now
from ..models import LoginSession
from ..settings import settings

STEP_UP_LIFETIME = timedelta(seconds=settings.step_up_seconds)


class InsufficientUserAuthentication(Unauthenticated):
    """The token is good, and yet it takes a fresh proof (RFC 9470): see POST /auth/step-up."""

    def __init__(self) -> None:
        super().__init__("Show again that it is you: POST /auth/step-up")
        challenge = 'Bearer error="insufficient_user_authentication"'
        self.headers["WWW-Authenticate"] = f"{challenge}, max_age={settings.step_up_seconds}"


async def require_person(request: Request, user: CurrentUser) -> User:
    if user.is_service or user.actor or is_api_key(get_bearer_token(request)):
        raise Forbidden("Only people do this for themselves, not services or API keys")
    return user


Person = Annotated[User, Depends(require_person)]
"""Somebody with a session of their own: no service, none acting for them, and no API key."""


async def require_recent_step_up(person: Person) -> User:
    is_fresh = select(LoginSession.proved_at > now() - STEP_UP_LIFETIME)
    async with autocommit_engine.connect() as connection:
        found = await connection.execute(is_fresh.where(LoginSession.id == person.session_id))
    if not found.scalar():
        raise InsufficientUserAuthentication
    return person


SteppedUpPerson = Annotated[User, Depends(require_recent_step_up)]
"""A person who has lately shown that it is them, with their second factor if they have one."""
