"""Dead letters, for operators."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from chassis.auth import User, require_permission
from chassis.idempotency import IdempotentRoute, idempotent
from chassis.pagination import Page, PageRequest

from ..celery_app import NotifyWorkers
from ..database import DbSession
from ..models import DeadLetterOperation
from ..notifications import dead_letters
from ..schemas.dead_letters import DeadLetterFilter, DeadLetterPurge, DeadLetterRead, OperationRead
from ..schemas.fields import Category, Channel

router = APIRouter(prefix="/dead-letters", route_class=IdempotentRoute)

Reader = Annotated[User, require_permission("queue:read")]
Operator = Annotated[User, require_permission("queue:write")]
Idempotent = idempotent(DbSession)


def parse_filter(
    channel: Channel | None = None,
    category: Annotated[Category | None, Query()] = None,
    recipient_id: UUID | None = None,
) -> DeadLetterFilter:
    return DeadLetterFilter(channel=channel, category=category, recipient_id=recipient_id)


Which = Annotated[DeadLetterFilter, Depends(parse_filter)]


@router.get("", response_model=Page[DeadLetterRead])
def list_dead_letters(
    which: Which, page: PageRequest, reader: Reader, session: DbSession
) -> dict[str, Any]:
    """Deliveries that were given up, and why, newest first."""
    return dead_letters.list_dead_letters(session, which, page)


@router.get("/operations", response_model=Page[OperationRead])
def list_operations(page: PageRequest, reader: Reader, session: DbSession) -> dict[str, Any]:
    """Who has replayed or purged which dead letters."""
    return dead_letters.list_operations(session, page)


@router.post(
    "/replay",
    response_model=OperationRead,
    status_code=202,
    dependencies=[Idempotent, NotifyWorkers],
)
def replay_dead_letters(
    which: DeadLetterFilter, operator: Operator, session: DbSession
) -> DeadLetterOperation:
    """Put dead letters back into the queue: those that are named, or all that fit."""
    return dead_letters.replay_dead_letters(session, operator, which)


@router.post("/purge", response_model=OperationRead, dependencies=[Idempotent])
def purge_dead_letters(
    which: DeadLetterPurge, operator: Operator, session: DbSession
) -> DeadLetterOperation:
    """Give dead letters up for good; a dry run says how many that would be."""
    return dead_letters.purge_dead_letters(session, operator, which)
