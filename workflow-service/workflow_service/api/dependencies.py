"""Who may call and what endpoints need, as the types that their signatures use."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Path, Request

from chassis.auth import User, require_permission
from chassis.idempotency import idempotent

from ..celery_app import WakeWorkers
from ..database import DbSession
from ..neighbours import Neighbours

MAX_CONCURRENT_MODEL_REQUESTS = 8  # models are slow; their callers must not occupy every thread

DefinitionReader = Annotated[User, require_permission("definitions:read")]
DefinitionAuthor = Annotated[User, require_permission("definitions:write")]
WorkflowStarter = Annotated[User, require_permission("workflows:start")]
WorkflowReader = Annotated[User, require_permission("workflows:read")]
ModelUser = Annotated[User, require_permission("ai:use")]

VersionNumber = Annotated[int, Path(ge=1, le=2**31 - 1)]

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
