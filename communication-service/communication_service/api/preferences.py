"""What people want to get: their preferences, the suppression list, and the link in a mail."""

from html import escape
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse, PlainTextResponse

from chassis.auth import CurrentUser, User, require_permission
from chassis.idempotency import IdempotentRoute, idempotent
from chassis.pagination import Page, PageRequest

from ..database import DbSession
from ..models import Suppression
from ..preferences import service as preferences
from ..preferences import suppressions
from ..schemas.preferences import (
    NotificationPreferences,
    PreferencesRead,
    SuppressionCreate,
    SuppressionRead,
)
from ..settings import settings

router = APIRouter(route_class=IdempotentRoute)

Operator = Annotated[User, require_permission("suppressions:write")]
Idempotent = idempotent(DbSession)
Token = Annotated[str, Path(max_length=500)]

UNSUBSCRIBE_PAGE = """<!doctype html><meta charset="utf-8"><title>Unsubscribe</title>
<form method="post"><p>No more mails of the category {category}?</p>
<button>Unsubscribe</button></form>"""


@router.get("/preferences", response_model=PreferencesRead)
def get_preferences(user: CurrentUser, session: DbSession) -> dict[str, Any]:
    """What the caller wants to get, and what holds beside it."""
    return preferences.get_preferences(session, user, settings)


@router.put("/preferences", response_model=PreferencesRead)
def put_preferences(
    wishes: NotificationPreferences, user: CurrentUser, session: DbSession
) -> dict[str, Any]:
    """Say anew what the caller wants to get; what is turned on ends an unsubscription."""
    return preferences.put_preferences(session, user, wishes, settings)


@router.get("/suppressions", response_model=Page[SuppressionRead])
def list_suppressions(
    page: PageRequest, operator: Operator, session: DbSession, user_id: UUID | None = None
) -> dict[str, Any]:
    """Who is not to get what any more, newest first."""
    return suppressions.list_suppressions(session, page, user_id)


@router.post(
    "/suppressions",
    response_model=SuppressionRead,
    status_code=201,
    dependencies=[Idempotent],
)
def add_suppression(new: SuppressionCreate, operator: Operator, session: DbSession) -> Suppression:
    """Send somebody no more of a category, or nothing, on a channel."""
    return suppressions.add_suppression(session, operator, new)


@router.delete("/suppressions/{suppression_id}", status_code=204)
def delete_suppression(suppression_id: UUID, operator: Operator, session: DbSession) -> None:
    """Take an entry off the list."""
    suppressions.delete_suppression(session, suppression_id)


@router.get("/unsubscribe/{token}", response_class=HTMLResponse)
def show_unsubscribe_page(token: Token) -> str:
    """The page that a link in a mail opens; looking at it, as mail scanners do, changes nothing."""
    _, category = suppressions.read_token(settings, token)
    return UNSUBSCRIBE_PAGE.format(category=escape(category))


@router.post("/unsubscribe/{token}", response_class=PlainTextResponse)
def unsubscribe(token: Token, session: DbSession) -> str:
    """One click (RFC 8058): no login, no question, and a second one changes nothing."""
    category = suppressions.unsubscribe(session, settings, token)
    return f"You will get no more mails of the category {category}."
