"""What a person does about themselves: come in, go out, see and end their sessions."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from chassis.auth import CurrentUser
from chassis.errors import Forbidden
from chassis.idempotency import idempotent
from chassis.pagination import Page, PageRequest, paginate
from chassis.routing import APIRouter

from ..audit import note_origin
from ..crypto import passwords
from ..database import DbSession
from ..login import recovery
from ..login import service as logins
from ..models import Account, LoginSession
from ..rate_limits import Guard
from ..schemas import bodies
from ..sessions import service as sessions
from ..users import service as users
from .dependencies import Person

router = APIRouter(prefix="/auth", dependencies=[Depends(note_origin)])


async def with_hash(new: bodies.Registration) -> tuple[bodies.Registration, str]:
    """Before an Idempotency-Key, which takes a connection: nobody holds one waiting for a hash."""
    return new, await passwords.hashed(new.password)


Newcomer = Annotated[tuple[bodies.Registration, str], Depends(with_hash)]
Keyed = Annotated[None, idempotent(DbSession)]


@router.post("/register", response_model=bodies.UserRead, status_code=201)
async def register(newcomer: Newcomer, _: Keyed, session: DbSession) -> Account:
    """Open an account for yourself."""
    return await logins.register(session, *newcomer)


@router.post("/login", response_model=bodies.TokenPair | bodies.ChallengeRead)
async def login(given: bodies.Credentials, guard: Guard, session: DbSession) -> Any:
    """Begin a session; whoever has a second factor gets a challenge first."""
    return await logins.login(session, guard, given)


@router.post("/refresh", response_model=bodies.TokenPair)
async def refresh(given: bodies.Refresh, session: DbSession) -> Any:
    """Exchange a refresh token for the next one and a new access token."""
    return await sessions.refresh(session, given.refresh_token)


@router.post("/logout", status_code=204)
async def logout(person: Person, session: DbSession) -> None:
    """End this session, at every service."""
    await sessions.end_own(session, person, UUID(str(person.session_id)))


@router.get("/me", response_model=bodies.Me)
async def me(user: CurrentUser, session: DbSession) -> bodies.Me:
    """Who you are and what you may do; with an API key, what it may do."""
    if user.is_service:
        raise Forbidden("Services are nobody here: ask as a person, or for one")
    account = await users.find(session, UUID(user.user_id))
    found = bodies.Me.model_validate(account)
    return found.model_copy(update={"permissions": sorted(user.permissions)})


@router.post("/authorize", response_model=bodies.Verdict)
async def authorize(question: bodies.Question, user: CurrentUser) -> Any:
    """Whether you have one permission."""
    return {"permission": question.permission, "allowed": user.has_permission(question.permission)}


@router.post("/change-password", status_code=204)
async def change_password(
    change: bodies.PasswordChange, person: Person, guard: Guard, session: DbSession
) -> None:
    """Set a new password; every other session of yours ends."""
    await recovery.change_password(session, guard, person, change)


@router.get("/sessions", response_model=Page[bodies.SessionRead])
async def list_sessions(person: Person, session: DbSession, page: PageRequest) -> Any:
    """Where you are logged in."""
    return await session.run_sync(paginate, sessions.own(person), page, LoginSession.id)


@router.delete("/sessions", status_code=204)
async def end_sessions(person: Person, session: DbSession, keep_current: bool = False) -> None:
    """Log out everywhere, or with `keep_current` everywhere else."""
    kept = person.session_id if keep_current else None
    await sessions.end_all(session, person, UUID(person.user_id), but=kept)


@router.delete("/sessions/{session_id}", status_code=204)
async def end_session(session_id: UUID, person: Person, session: DbSession) -> None:
    """Log out in one place."""
    await sessions.end_own(session, person, session_id)
