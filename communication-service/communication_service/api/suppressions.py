"""Suppressions: users who get nothing of a category on a channel, by unsubscribing or otherwise."""

from html import escape
from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Query
from fastapi.responses import HTMLResponse, PlainTextResponse

from chassis.openapi import raises
from chassis.pagination import Page, PageRequest
from chassis.routing import APIRouter

from ..database import DbSession
from ..models import Suppression
from ..preferences import suppressions
from ..schemas.preferences import SuppressionCreate, SuppressionRead
from .dependencies import CurrentSettings, Idempotent, SuppressionEditor

router = APIRouter(tags=["Suppressions"])

UserId = Annotated[UUID | None, Query(description="Only the suppressions of this user.")]
Token = Annotated[str, Path(max_length=500, description="From a link in an email.")]

UNSUBSCRIBE_PAGE = """<!doctype html><meta charset="utf-8"><title>Unsubscribe</title>
<form method="post"><p>Stop getting emails of the category {category}?</p>
<button>Unsubscribe</button></form>"""


@router.get("/suppressions", response_model=Page[SuppressionRead])
def list_suppressions(
    page: PageRequest, editor: SuppressionEditor, session: DbSession, user_id: UserId = None
) -> dict[str, Any]:
    """List who gets nothing of a category on a channel any more, newest first."""
    return suppressions.list_suppressed(session, page, user_id)


@router.post(
    "/suppressions", response_model=SuppressionRead, status_code=201, dependencies=[Idempotent]
)
@raises(suppressions.DuplicateSuppression)
def add_suppression(
    new: SuppressionCreate, editor: SuppressionEditor, session: DbSession
) -> Suppression:
    """Stop sending a category, or everything, to a user on one channel."""
    return suppressions.add_suppression(session, editor, new)


@router.delete("/suppressions/{suppression_id}", status_code=204)
@raises(suppressions.UnknownSuppression)
def delete_suppression(suppression_id: UUID, editor: SuppressionEditor, session: DbSession) -> None:
    """Delete a suppression, so that the user gets these notifications again."""
    suppressions.delete_suppression(session, suppression_id)


@router.get("/unsubscribe/{token}", response_class=HTMLResponse)
@raises(suppressions.UnknownLink)
def show_unsubscribe_page(token: Token, settings: CurrentSettings) -> str:
    """Show the page behind the link in an email; opening it, as scanners do, changes nothing."""
    _, category = suppressions.read_token(settings, token)
    return UNSUBSCRIBE_PAGE.format(category=escape(category))


@router.post("/unsubscribe/{token}", response_class=PlainTextResponse)
@raises(suppressions.UnknownLink)
def unsubscribe(token: Token, session: DbSession, settings: CurrentSettings) -> str:
    """Unsubscribe with one click (RFC 8058), without a login; repeating it changes nothing."""
    category = suppressions.unsubscribe(session, settings, token)
    return f"You are unsubscribed from emails of the category {category}."
