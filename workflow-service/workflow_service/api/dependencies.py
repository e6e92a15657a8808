"""Who may call, and what endpoints need, by the names that signatures use."""

from typing import Annotated

from fastapi import Depends, Request

from chassis.auth import User, require_permission
from chassis.idempotency import idempotent

from ..celery_app import Hint
from ..database import DbSession
from ..neighbours import Neighbours

DefinitionReader = Annotated[User, require_permission("definitions:read")]
DefinitionAuthor = Annotated[User, require_permission("definitions:write")]
WorkflowStarter = Annotated[User, require_permission("workflows:start")]
WorkflowReader = Annotated[User, require_permission("workflows:read")]

IDEMPOTENT = [idempotent(DbSession)]  # for each Idempotency-Key
NOTIFY_WORKERS = [Hint]  # to the workers, after the commit


def get_neighbours(request: Request) -> Neighbours:
    found: Neighbours = request.app.state.neighbours
    return found


NeighbourClients = Annotated[Neighbours, Depends(get_neighbours)]
