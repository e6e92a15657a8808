"""Streams new inbox items to their owner at once, whichever replica they are connected to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.event_stream import EventPage, EventSource, EventStreams

from ..database import session_maker
from ..schemas.inbox import InboxItemAdded, InboxItemRead
from ..settings import Settings
from .service import get_items_after, get_newest_positions

PAGE_SIZE = 20


def read_items_after(session: Session, user: User, _: str, position: int) -> EventPage:
    items = get_items_after(session, user, position, PAGE_SIZE)
    events = [
        InboxItemAdded(id=str(item.position), data=InboxItemRead.model_validate(item))
        for item in items
    ]
    return EventPage(events, has_more=len(events) == PAGE_SIZE)


INBOXES = EventSource(session_maker, get_newest_positions, read_items_after)


@asynccontextmanager
async def open_streams(app: FastAPI) -> AsyncIterator[None]:
    """Sets `app.state.streams`, whose keys are the ids of the inboxes' owners."""
    settings: Settings = app.state.settings
    app.state.streams = EventStreams(
        INBOXES,
        max_streams=settings.inbox_streams,
        max_streams_per_key=settings.inbox_streams_per_user,
    )
    async with app.state.streams.run():
        yield
