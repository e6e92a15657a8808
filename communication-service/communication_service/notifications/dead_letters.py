"""Dead letters, which are deliveries that failed for good: lists, replays and purges them."""

from typing import Any

from sqlalchemy import ColumnElement, and_, func, select, update
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.job_queue import DEAD, PENDING
from chassis.pagination import PageParameters, paginate
from chassis.tracing import get_trace_id

from ..models import CANCELLED, DeadLetterOperation, Delivery, Notification
from ..redaction import redact_finished
from ..schemas.dead_letters import DeadLetterFilter, DeadLetterPurge

PURGED_REASON = "An operator purged it from the dead letters"


def build_condition(which: DeadLetterFilter) -> ColumnElement[bool]:
    conditions = [Delivery.status == DEAD]
    if which.delivery_ids is not None:
        conditions.append(Delivery.id.in_(which.delivery_ids))
    if which.channel is not None:
        conditions.append(Delivery.channel == which.channel)
    of_notification = []
    if which.category is not None:
        of_notification.append(Notification.category == which.category)
    if which.recipient_id is not None:
        of_notification.append(Notification.recipient_id == str(which.recipient_id))
    if of_notification:
        notification_ids = select(Notification.id).where(*of_notification)
        conditions.append(Delivery.notification_id.in_(notification_ids))
    return and_(*conditions)


def list_dead(session: Session, which: DeadLetterFilter, page: PageParameters) -> dict[str, Any]:
    dead = (
        select(*Delivery.__table__.c, Notification.sender_id, Notification.recipient_id)
        .add_columns(Notification.category)
        .join(Notification, Notification.id == Delivery.notification_id)
        .where(build_condition(which))
    )
    return paginate(session, dead, page, Delivery.id)


def replay_dead(session: Session, operator: User, which: DeadLetterFilter) -> DeadLetterOperation:
    """Puts them back into the queue, with as many attempts and as much time as new ones have."""
    values = {"status": PENDING, "attempts": 0, "last_error": None}
    replayed = update(Delivery).where(build_condition(which))
    replayed = replayed.values(**values, run_at=func.now(), queued_at=func.now())
    count = len(session.scalars(replayed.returning(Delivery.id)).all())
    return record_operation(session, operator, "replay", which, count)


def purge_dead(session: Session, operator: User, which: DeadLetterPurge) -> DeadLetterOperation:
    """Marks them as cancelled; a dry run only counts."""
    is_purged = build_condition(which)
    if which.dry_run:
        count = session.scalar(select(func.count()).select_from(Delivery).where(is_purged))
        return build_operation(operator, "purge", which, count or 0)
    purged = update(Delivery).where(is_purged).values(status=CANCELLED, last_error=PURGED_REASON)
    notification_ids = session.scalars(purged.returning(Delivery.notification_id)).all()
    redact_finished(session, notification_ids)
    return record_operation(session, operator, "purge", which, len(notification_ids))


def record_operation(
    session: Session, operator: User, action: str, which: DeadLetterFilter, count: int
) -> DeadLetterOperation:
    operation = build_operation(operator, action, which, count)
    session.add(operation)
    session.flush()
    return operation


def build_operation(
    operator: User, action: str, which: DeadLetterFilter, count: int
) -> DeadLetterOperation:
    return DeadLetterOperation(
        action=action,
        actor_id=operator.user_id,
        acting_service=operator.actor,
        which=which.model_dump(mode="json", exclude_none=True),
        count=count,
        trace_id=get_trace_id(),
    )


def list_operations(session: Session, page: PageParameters) -> dict[str, Any]:
    return paginate(session, select(DeadLetterOperation), page, DeadLetterOperation.id)
