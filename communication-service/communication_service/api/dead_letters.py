"""The queue of deliveries, for operators: its status, and those that failed for good."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query

from chassis.pagination import Page, PageRequest
from chassis.routing import APIRouter

from ..categories import Category
from ..database import DbSession
from ..models import DeadLetterOperation
from ..notifications import dead_letters, service
from ..schemas.dead_letters import (
    DeadLetterFilter,
    DeadLetterOperationRead,
    DeadLetterPurge,
    DeadLetterRead,
)
from ..schemas.fields import Channel
from ..schemas.notifications import QueueStatus
from .dependencies import Idempotent, Queueing, QueueOperator, QueueReader

router = APIRouter(tags=["Queue"])


def parse_filter(
    channel: Channel | None = None,
    category: Annotated[Category | None, Query()] = None,
    recipient_id: Annotated[UUID | None, Query(description="The id of a user.")] = None,
) -> DeadLetterFilter:
    return DeadLetterFilter(channel=channel, category=category, recipient_id=recipient_id)


Filter = Annotated[DeadLetterFilter, Depends(parse_filter)]


@router.get("/queue/status", response_model=QueueStatus)
def get_queue_status(reader: QueueReader, session: DbSession) -> QueueStatus:
    """Count the deliveries by status, and those that are due now."""
    return service.get_queue_status(session)


@router.get("/dead-letters", response_model=Page[DeadLetterRead])
def list_dead_letters(
    which: Filter, page: PageRequest, reader: QueueReader, session: DbSession
) -> dict[str, Any]:
    """List deliveries that failed for good, with the reason, newest first."""
    return dead_letters.list_dead(session, which, page)


@router.get("/dead-letters/operations", response_model=Page[DeadLetterOperationRead])
def list_dead_letter_operations(
    page: PageRequest, reader: QueueReader, session: DbSession
) -> dict[str, Any]:
    """List who has replayed or purged which dead letters, newest first."""
    return dead_letters.list_operations(session, page)


@router.post(
    "/dead-letters/replay",
    response_model=DeadLetterOperationRead,
    status_code=202,
    dependencies=Queueing,
)
def replay_dead_letters(
    which: DeadLetterFilter, operator: QueueOperator, session: DbSession
) -> DeadLetterOperation:
    """Put all dead letters that match back into the queue, with a new set of attempts."""
    return dead_letters.replay_dead(session, operator, which)


@router.post(
    "/dead-letters/purge", response_model=DeadLetterOperationRead, dependencies=[Idempotent]
)
def purge_dead_letters(
    which: DeadLetterPurge, operator: QueueOperator, session: DbSession
) -> DeadLetterOperation:
    """Give up all dead letters that match, which become `cancelled`; a dry run only counts them."""
    return dead_letters.purge_dead(session, operator, which)
