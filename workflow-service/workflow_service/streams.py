"""Live streams of runs, until they end: what chassis/event_stream.py sends, and who may see it."""

from collections.abc import Collection
from typing import Literal
from uuid import UUID

from pydantic import Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.event_stream import EventPage, EventSource, NoData, StreamedEvent

from .database import session_maker
from .models import Event, Run
from .schemas import HistoryEventRead
from .workflows import get_workflow

MAX_STREAMS = 100  # in one process
PAGE_SIZE = 100


class HistoryEventAdded(StreamedEvent):
    """Brings the next event of a run's history."""

    event: str = Field(description="The `type` of the event.")
    data: HistoryEventRead


class HistoryEnded(StreamedEvent):
    """Comes last: the run has ended."""

    event: Literal["end"] = "end"
    data: NoData = NoData()


def find_newest_events(session: Session, run_ids: Collection[UUID]) -> dict[UUID, int]:
    # One subquery for each run: PostgreSQL reads one index entry for the maximum.
    newest = select(func.coalesce(func.max(Event.id), 0)).where(Event.run_id == Run.id)
    rows = session.execute(select(Run.id, newest.scalar_subquery()).where(Run.id.in_(run_ids)))
    return {run_id: position for run_id, position in rows}


def read_events_after(session: Session, user: User, run_id: UUID, position: int) -> EventPage:
    """Read a page of a run that the user may see, with an `end` event after the last one."""
    # The run is read before its events: if it has ended, no further events can follow.
    has_ended = get_workflow(session, user, run_id).finished_at is not None
    rows = select(Event).where(Event.run_id == run_id, Event.id > position).order_by(Event.id)
    events: list[StreamedEvent] = []
    for row in session.scalars(rows.limit(PAGE_SIZE)):
        data = HistoryEventRead.model_validate(row)
        events.append(HistoryEventAdded(event=row.type, id=str(row.id), data=data))
    has_more = len(events) == PAGE_SIZE
    if has_ended and not has_more:
        events.append(HistoryEnded())
    return EventPage(events, has_more, is_last=has_ended and not has_more)


RUN_HISTORIES = EventSource(session_maker, find_newest_events, read_events_after)
