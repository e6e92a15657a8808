"""Sessions: each login starts one, which its refresh token extends until it ends.

A refresh token works once. Using it again ends the session, because it may have been stolen.
"""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query

from chassis.openapi import raises
from chassis.pagination import Page, PageRequest, paginate
from chassis.routing import APIRouter

from ..audit import remember_origin
from ..database import DbSession
from ..models import LoginSession
from ..schemas.login import SessionRead
from ..schemas.tokens import RefreshRequest, TokenPair
from ..sessions import service as session_service
from ..sessions.service import InvalidRefreshToken, UnknownSession
from .dependencies import Person

router = APIRouter(prefix="/auth", tags=["Sessions"], dependencies=[Depends(remember_origin)])

KeepCurrent = Annotated[bool, Query(description="Whether this session goes on.")]


@router.post("/refresh", response_model=TokenPair)
@raises(InvalidRefreshToken)
async def refresh_tokens(request: RefreshRequest, session: DbSession) -> TokenPair:
    """Exchange a refresh token for a new refresh token and a new access token."""
    return await session_service.rotate_refresh_token(session, request.refresh_token)


@router.post("/logout", status_code=204)
@raises(UnknownSession)
async def log_out(person: Person, session: DbSession) -> None:
    """End this session at all services."""
    await session_service.end_own_session(session, person, UUID(str(person.session_id)))


@router.get("/sessions", response_model=Page[SessionRead])
async def list_sessions(person: Person, session: DbSession, page: PageRequest) -> Any:
    """List the sessions in which you are logged in."""
    own = session_service.select_own_sessions(person)
    return await session.run_sync(paginate, own, page, LoginSession.id)


@router.delete("/sessions", status_code=204)
async def end_sessions(
    person: Person, session: DbSession, keep_current: KeepCurrent = False
) -> None:
    """Log out everywhere or, with `keep_current`, everywhere else."""
    kept = person.session_id if keep_current else None
    await session_service.end_all_sessions(session, person, UUID(person.user_id), except_id=kept)


@router.delete("/sessions/{session_id}", status_code=204)
@raises(UnknownSession)
async def end_session(session_id: UUID, person: Person, session: DbSession) -> None:
    """Log out of one session."""
    await session_service.end_own_session(session, person, session_id)
