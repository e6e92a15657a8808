"""Endpoints with which users register, log in and out, and manage their own sessions."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from chassis.auth import CurrentUser
from chassis.errors import Forbidden
from chassis.pagination import Page, PageRequest, paginate
from chassis.routing import APIRouter

from ..audit import remember_origin
from ..database import DbSession
from ..login import recovery
from ..login import service as login_service
from ..models import Account, LoginSession
from ..rate_limits import Limiter
from ..schemas.login import ChallengeRead, LoginCredentials, PasswordChange, SessionRead
from ..schemas.tokens import PermissionAnswer, PermissionQuery, RefreshRequest, TokenPair
from ..schemas.users import CurrentUserRead, Registration, UserRead
from ..sessions import service as session_service
from ..users import service as user_service
from .dependencies import IdempotencyKey, Person, with_password_hash

router = APIRouter(prefix="/auth", dependencies=[Depends(remember_origin)])

RegistrationWithHash = Annotated[tuple[Registration, str], with_password_hash(Registration)]


@router.post("/register", response_model=UserRead, status_code=201)
async def register(new: RegistrationWithHash, _: IdempotencyKey, session: DbSession) -> Account:
    """Create an account for yourself."""
    return await login_service.register(session, *new)


@router.post("/login", response_model=TokenPair | ChallengeRead)
async def log_in(
    credentials: LoginCredentials, limiter: Limiter, session: DbSession
) -> TokenPair | ChallengeRead:
    """Start a session; users with a second factor get a challenge instead of tokens."""
    return await login_service.log_in(session, limiter, credentials)


@router.post("/refresh", response_model=TokenPair)
async def refresh_tokens(request: RefreshRequest, session: DbSession) -> TokenPair:
    """Exchange a refresh token for a new refresh token and a new access token."""
    return await session_service.rotate_refresh_token(session, request.refresh_token)


@router.post("/logout", status_code=204)
async def log_out(person: Person, session: DbSession) -> None:
    """End this session at all services."""
    await session_service.end_own_session(session, person, UUID(str(person.session_id)))


@router.get("/me", response_model=CurrentUserRead)
async def read_current_user(user: CurrentUser, session: DbSession) -> CurrentUserRead:
    """Show your account and your permissions; with an API key, the permissions of the key."""
    if user.is_service:
        raise Forbidden("This endpoint needs a user's token, or a service token on behalf of one")
    found = CurrentUserRead.model_validate(await user_service.get_user(session, UUID(user.user_id)))
    return found.model_copy(update={"permissions": sorted(user.permissions)})


@router.post("/authorize", response_model=PermissionAnswer)
async def check_permission(query: PermissionQuery, user: CurrentUser) -> PermissionAnswer:
    """Tell whether you have a permission."""
    is_allowed = user.has_permission(query.permission)
    return PermissionAnswer(permission=query.permission, allowed=is_allowed)


@router.post("/change-password", status_code=204)
async def change_password(
    change: PasswordChange, person: Person, limiter: Limiter, session: DbSession
) -> None:
    """Change your password; all your other sessions end."""
    await recovery.change_password(session, limiter, person, change)


@router.get("/sessions", response_model=Page[SessionRead])
async def list_sessions(person: Person, session: DbSession, page: PageRequest) -> Any:
    """List the sessions in which you are logged in."""
    own = session_service.select_own_sessions(person)
    return await session.run_sync(paginate, own, page, LoginSession.id)


@router.delete("/sessions", status_code=204)
async def end_sessions(person: Person, session: DbSession, keep_current: bool = False) -> None:
    """Log out everywhere or, with `keep_current`, everywhere else."""
    kept = person.session_id if keep_current else None
    await session_service.end_all_sessions(session, person, UUID(person.user_id), except_id=kept)


@router.delete("/sessions/{session_id}", status_code=204)
async def end_session(session_id: UUID, person: Person, session: DbSession) -> None:
    """Log out of one session."""
    await session_service.end_own_session(session, person, session_id)
