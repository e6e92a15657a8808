"""Live runs: each line of a run's history reaches its readers as soon as it is written.

A stream ends with its run.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from uuid import UUID

from fastapi import FastAPI
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from sse_starlette import ServerSentEvent

from chassis.auth import User
from chassis.event_stream import EventPage, EventSource, EventStreams

from .database import session_maker
from .models import Event, Run
from .schemas.workflows import EventRead
from .workflows import get_workflow

MAX_STREAMS = 100  # in one process
PAGE_SIZE = 100


def find_newest_events(session: Session, run_ids: Collection[UUID]) -> dict[UUID, int]:
    # One subquery for each run: PostgreSQL reads one index entry for the maximum.
    newest = select(func.coalesce(func.max(Event.id), 0)).where(Event.run_id == Run.id)
    rows = session.execute(select(Run.id, newest.scalar_subquery()).where(Run.id.in_(run_ids)))
    return {run_id: position for run_id, position in rows}


def read_events_after(session: Session, user: User, run_id: UUID, position: int) -> EventPage:
    # Read before the lines: those of a run that has ended are complete.
    has_ended = get_workflow(session, user, run_id).finished_at is not None
    lines = select(Event).where(Event.run_id == run_id, Event.id > position).order_by(Event.id)
    events = []
    for line in session.scalars(lines.limit(PAGE_SIZE)):
        data = EventRead.model_validate(line, from_attributes=True).model_dump_json()
        events.append(ServerSentEvent(event=line.type, id=str(line.id), data=data))
    has_more = len(events) == PAGE_SIZE
    if has_ended and not has_more:
        events.append(ServerSentEvent(event="end", data="{}"))
    return EventPage(events, has_more, is_last=has_ended and not has_more)


RUNS = EventSource(session_maker, find_newest_events, read_events_after)


@asynccontextmanager
async def open_streams(app: FastAPI) -> AsyncIterator[None]:
    """Gives app.state its `streams`, by the id of the run."""
    app.state.streams = EventStreams(RUNS, max_streams=MAX_STREAMS)
    async with app.state.streams.run():
        yield
