"""Login: registering, logging in with a password, and what the caller is and may do.

After too many failures, an address or network has to wait, for known and unknown addresses alike.
"""

from typing import Annotated
from uuid import UUID

from fastapi import Depends

from chassis.auth import CurrentUser
from chassis.errors import Forbidden
from chassis.openapi import raises
from chassis.routing import APIRouter

from ..audit import remember_origin
from ..database import DbSession
from ..login import recovery
from ..login import service as login_service
from ..login.service import WrongCredentials, WrongPassword
from ..models import Account
from ..rate_limits import Limiter, TooManyAttempts
from ..schemas.login import ChallengeRead, LoginCredentials, PasswordChange
from ..schemas.tokens import PermissionAnswer, PermissionQuery, TokenPair
from ..schemas.users import CurrentUserRead, Registration, UserRead
from ..users import service as user_service
from ..users.service import UnknownUser
from .dependencies import IdempotencyKey, Person, with_password_hash

router = APIRouter(prefix="/auth", tags=["Login"], dependencies=[Depends(remember_origin)])


class NotForServices(Forbidden):
    """Raised for a service's own token: this needs a user's, or one on behalf of a user."""


RegistrationWithHash = Annotated[tuple[Registration, str], with_password_hash(Registration)]


@router.post("/register", response_model=UserRead, status_code=201)
async def register(new: RegistrationWithHash, _: IdempotencyKey, session: DbSession) -> Account:
    """Create an account for yourself; an email asks you to verify the address.

    The response is the same when the address has an account already: its owner gets an email.
    """
    return await login_service.register(session, *new)


@router.post("/login", response_model=TokenPair | ChallengeRead)
@raises(WrongCredentials, TooManyAttempts)
async def log_in(
    credentials: LoginCredentials, limiter: Limiter, session: DbSession
) -> TokenPair | ChallengeRead:
    """Start a session; users with a second factor get a challenge instead of tokens."""
    return await login_service.log_in(session, limiter, credentials)


@router.get("/me", response_model=CurrentUserRead)
@raises(NotForServices, UnknownUser)
async def read_current_user(user: CurrentUser, session: DbSession) -> CurrentUserRead:
    """Show your account and your permissions; with an API key, the permissions of the key."""
    if user.is_service:
        raise NotForServices(
            "This endpoint needs a user's token, or a service token on behalf of one"
        )
    found = CurrentUserRead.model_validate(await user_service.get_user(session, UUID(user.user_id)))
    return found.model_copy(update={"permissions": sorted(user.permissions)})


@router.post("/authorize", response_model=PermissionAnswer)
async def check_permission(query: PermissionQuery, user: CurrentUser) -> PermissionAnswer:
    """Tell whether you have a permission."""
    is_allowed = user.has_permission(query.permission)
    return PermissionAnswer(permission=query.permission, allowed=is_allowed)


@router.post("/change-password", status_code=204)
@raises(WrongPassword, TooManyAttempts)
async def change_password(
    change: PasswordChange, person: Person, limiter: Limiter, session: DbSession
) -> None:
    """Change your password; all your other sessions end, and an email tells you of it."""
    await recovery.change_password(session, limiter, person, change)
