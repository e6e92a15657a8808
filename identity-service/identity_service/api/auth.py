"""What a person does about themselves: come in, go out, see and end their sessions."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from chassis.auth import CurrentUser
from chassis.errors import Forbidden
from chassis.idempotency import idempotent
from chassis.pagination import Page, PageRequest, paginate
from chassis.routing import APIRouter

from ..audit import remember_origin
from ..crypto import passwords
from ..database import DbSession
from ..login import recovery
from ..login import service as login_service
from ..models import Account, LoginSession
from ..rate_limits import Limiter
from ..schemas import bodies
from ..sessions import service as session_service
from ..users import service as user_service
from .dependencies import Person

router = APIRouter(prefix="/auth", dependencies=[Depends(remember_origin)])


async def with_hash(new: bodies.Registration) -> tuple[bodies.Registration, str]:
    """Before an Idempotency-Key, which takes a connection: nobody holds one waiting for a hash."""
    return new, await passwords.hash_new_password(new.password)


Newcomer = Annotated[tuple[bodies.Registration, str], Depends(with_hash)]
Keyed = Annotated[None, idempotent(DbSession)]


@router.post("/register", response_model=bodies.UserRead, status_code=201)
async def register(newcomer: Newcomer, _: Keyed, session: DbSession) -> Account:
    """Open an account for yourself."""
    return await login_service.register(session, *newcomer)


@router.post("/login", response_model=bodies.TokenPair | bodies.ChallengeRead)
async def login(given: bodies.LoginCredentials, limiter: Limiter, session: DbSession) -> Any:
    """Begin a session; whoever has a second factor gets a challenge first."""
    return await login_service.log_in(session, limiter, given)


@router.post("/refresh", response_model=bodies.TokenPair)
async def refresh(given: bodies.RefreshRequest, session: DbSession) -> Any:
    """Exchange a refresh token for the next one and a new access token."""
    return await session_service.rotate_refresh_token(session, given.refresh_token)


@router.post("/logout", status_code=204)
async def logout(person: Person, session: DbSession) -> None:
    """End this session, at every service."""
    await session_service.end_own_session(session, person, UUID(str(person.session_id)))


@router.get("/me", response_model=bodies.CurrentUserRead)
async def read_current_user(user: CurrentUser, session: DbSession) -> bodies.CurrentUserRead:
    """Who you are and what you may do; with an API key, what it may do."""
    if user.is_service:
        raise Forbidden("Services are nobody here: ask as a person, or for one")
    account = await user_service.get_user(session, UUID(user.user_id))
    found = bodies.CurrentUserRead.model_validate(account)
    return found.model_copy(update={"permissions": sorted(user.permissions)})


@router.post("/authorize", response_model=bodies.PermissionAnswer)
async def authorize(question: bodies.PermissionQuery, user: CurrentUser) -> Any:
    """Whether you have one permission."""
    return {"permission": question.permission, "allowed": user.has_permission(question.permission)}


@router.post("/change-password", status_code=204)
async def change_password(
    change: bodies.PasswordChange, person: Person, limiter: Limiter, session: DbSession
) -> None:
    """Set a new password; every other session of yours ends."""
    await recovery.change_password(session, limiter, person, change)


@router.get("/sessions", response_model=Page[bodies.SessionRead])
async def list_sessions(person: Person, session: DbSession, page: PageRequest) -> Any:
    """Where you are logged in."""
    return await session.run_sync(
        paginate, session_service.select_own_sessions(person), page, LoginSession.id
    )


@router.delete("/sessions", status_code=204)
async def end_sessions(person: Person, session: DbSession, keep_current: bool = False) -> None:
    """Log out everywhere, or with `keep_current` everywhere else."""
    kept = person.session_id if keep_current else None
    await session_service.end_all_sessions(
        session, person, UUID(person.user_id), except_session_id=kept
    )


@router.delete("/sessions/{session_id}", status_code=204)
async def end_session(session_id: UUID, person: Person, session: DbSession) -> None:
    """Log out in one place."""
    await session_service.end_own_session(session, person, session_id)
