"""The caller's inbox: items arrive in it from notifications, at once also as a stream."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Header, Query, Request

from chassis.auth import CurrentUser, get_bearer_token
from chassis.event_stream import EventStream, EventStreamResponse, EventStreams, TooManyStreams
from chassis.openapi import raises
from chassis.pagination import Page, PageRequest
from chassis.routing import APIRouter

from ..database import DbSession
from ..inbox import service
from ..models import InboxItem
from ..schemas.inbox import InboxEvent, InboxItemRead, ReadCount, UnreadCount

router = APIRouter(prefix="/inbox", tags=["Inbox"])

Position = Annotated[
    int | None,
    Header(ge=0, le=2**63 - 1, description="The id of the last event seen; without it, only new."),
]
OnlyUnread = Annotated[bool, Query(description="Only items that are not read.")]
Archived = Annotated[bool, Query(description="Archived items in place of the others.")]


@raises(TooManyStreams)
async def open_stream(request: Request, user: CurrentUser) -> AsyncIterator[EventStream[str]]:
    """Opens a stream until the client leaves, the token ends or the process stops."""
    streams: EventStreams[str] = request.app.state.streams
    check_token = partial(request.app.state.authenticate, get_bearer_token(request))
    with streams.open(user.user_id, user, check_token) as stream:
        yield stream


@router.get("", response_model=Page[InboxItemRead])
def list_inbox_items(
    page: PageRequest,
    user: CurrentUser,
    session: DbSession,
    unread: OnlyUnread = False,
    archived: Archived = False,
) -> dict[str, Any]:
    """List the caller's items, newest first: all, only unread, or only archived ones."""
    return service.list_items(session, user, page, unread, archived)


@router.get("/stream", response_class=EventStreamResponse, responses={200: {"model": InboxEvent}})
async def stream_inbox_items(
    stream: Annotated[EventStream[str], Depends(open_stream)], last_event_id: Position = None
) -> EventStreamResponse:
    """Stream new items of the caller's inbox as they arrive (server-sent events).

    With `Last-Event-ID`, as browsers send it when they reconnect, items since then come first.
    """
    return stream.respond(last_event_id, announce=True)


@router.get("/unread-count", response_model=UnreadCount)
def count_unread_items(user: CurrentUser, session: DbSession) -> UnreadCount:
    """Count the unread items in the caller's inbox."""
    return service.count_unread(session, user)


@router.put("/read-all", response_model=ReadCount)
def mark_all_items_read(user: CurrentUser, session: DbSession) -> ReadCount:
    """Mark every item in the caller's inbox as read."""
    return service.mark_all_read(session, user)


@router.put("/{item_id}/read", response_model=InboxItemRead)
@raises(service.UnknownInboxItem)
def mark_item_read(item_id: UUID, user: CurrentUser, session: DbSession) -> InboxItem:
    """Mark one item in the caller's inbox as read."""
    return service.mark_read(session, user, item_id)


@router.put("/{item_id}/archive", response_model=InboxItemRead)
@raises(service.UnknownInboxItem)
def archive_inbox_item(item_id: UUID, user: CurrentUser, session: DbSession) -> InboxItem:
    """Archive one item: it leaves the list and the unread count, and is kept."""
    return service.archive_item(session, user, item_id)


@router.delete("/{item_id}/archive", response_model=InboxItemRead)
@raises(service.UnknownInboxItem)
def restore_inbox_item(item_id: UUID, user: CurrentUser, session: DbSession) -> InboxItem:
    """Put an archived item back into the caller's inbox."""
    return service.restore_item(session, user, item_id)
