"""Who may call and what endpoints need, as the types that their signatures use."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Path, Query, Request

from chassis.auth import User, get_bearer_token, require_permission
from chassis.event_stream import EventStream, EventStreams
from chassis.idempotency import idempotent

from .. import workflows
from ..celery_app import WakeWorkers
from ..database import DbSession, session_maker
from ..neighbours import Neighbours

MAX_CONCURRENT_MODEL_REQUESTS = 8  # models are slow; their callers must not occupy every thread

DefinitionReader = Annotated[User, require_permission("definitions:read")]
DefinitionAuthor = Annotated[User, require_permission("definitions:write")]
WorkflowStarter = Annotated[User, require_permission("workflows:start")]
WorkflowReader = Annotated[User, require_permission("workflows:read")]
ModelUser = Annotated[User, require_permission("ai:use")]

VersionNumber = Annotated[int, Path(ge=1, le=2**31 - 1)]
Days = Annotated[int, Query(ge=1, le=366)]
LastEventId = Annotated[int, Header(ge=0, le=2**63 - 1)]

IDEMPOTENT = [idempotent(DbSession)]
NOTIFY_WORKERS = [WakeWorkers]  # after the commit


async def get_neighbours(request: Request) -> AsyncIterator[Neighbours]:
    """Yield the clients, so that `max_concurrency` counts the caller until its response is made."""
    yield request.app.state.neighbours


NeighbourClients = Annotated[Neighbours, Depends(get_neighbours)]
NeighboursInTurn = Annotated[
    Neighbours,
    Depends(get_neighbours, scope="function", max_concurrency=MAX_CONCURRENT_MODEL_REQUESTS),
]


def require_visible_workflow(workflow_id: UUID, reader: WorkflowReader) -> UUID:
    """Check access in a session of its own, which is closed before the stream begins."""
    with session_maker() as session:
        return workflows.get_workflow(session, reader, workflow_id).id


async def open_stream(
    request: Request,
    reader: WorkflowReader,
    run_id: Annotated[UUID, Depends(require_visible_workflow)],
) -> AsyncIterator[EventStream[UUID]]:
    """Open a stream, and close it when its client has gone or its run has ended."""
    streams: EventStreams[UUID] = request.app.state.streams
    check_token = partial(request.app.state.authenticate, get_bearer_token(request))
    with streams.open(run_id, reader, check_token) as stream:
        yield stream


WorkflowStream = Annotated[EventStream[UUID], Depends(open_stream)]
