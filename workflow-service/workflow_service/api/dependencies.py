"""Who may call and what endpoints need, as the types that their signatures use."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Request

from chassis.auth import User, get_bearer_token, require_permission
from chassis.errors import BadGateway
from chassis.event_stream import EventStream, EventStreams
from chassis.idempotency import idempotent
from chassis.openapi import raises

from .. import workflows
from ..celery_app import WakeWorkers
from ..database import DbSession, session_maker
from ..neighbours import Neighbours

MAX_CONCURRENT_MODEL_REQUESTS = 8  # models are slow; their callers must not occupy every thread

DefinitionReader = Annotated[User, require_permission("definitions:read")]
DefinitionAuthor = Annotated[User, require_permission("definitions:write")]
RunStarter = Annotated[User, require_permission("workflows:start")]
RunReader = Annotated[User, require_permission("workflows:read")]
ModelUser = Annotated[User, require_permission("ai:use")]

VersionNumber = Annotated[
    int, Path(ge=1, le=2**31 - 1, description="Of the definition; the first is 1.")
]

IDEMPOTENT = [idempotent(DbSession)]
NOTIFY_WORKERS = [WakeWorkers]  # after the commit
STARTS_RUN = [*IDEMPOTENT, *NOTIFY_WORKERS]


@raises(BadGateway)
async def get_neighbours(request: Request) -> AsyncIterator[Neighbours]:
    """Yield the clients, so that `max_concurrency` counts the caller until its response is made."""
    yield request.app.state.neighbours


NeighbourClients = Annotated[Neighbours, Depends(get_neighbours)]
in_turn = Depends(get_neighbours, scope="function", max_concurrency=MAX_CONCURRENT_MODEL_REQUESTS)
NeighboursInTurn = Annotated[Neighbours, in_turn]


@raises(workflows.UnknownWorkflow)
def require_visible_workflow(workflow_id: UUID, reader: RunReader) -> UUID:
    """Check access in a session of its own, which is closed before the stream begins."""
    with session_maker() as session:
        return workflows.get_workflow(session, reader, workflow_id).id


async def open_stream(
    request: Request, reader: RunReader, run_id: Annotated[UUID, Depends(require_visible_workflow)]
) -> AsyncIterator[EventStream[UUID]]:
    """Open a stream, and close it when its client has gone or its run has ended."""
    streams: EventStreams[UUID] = request.app.state.streams
    check_token = partial(request.app.state.authenticate, get_bearer_token(request))
    with streams.open(run_id, reader, check_token) as stream:
        yield stream


WorkflowStream = Annotated[EventStream[UUID], Depends(open_stream)]
