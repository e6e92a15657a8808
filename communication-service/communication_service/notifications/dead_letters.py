"""Deliveries that were given up: found, looked at, put back into the queue or given up for good."""

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

PURGED_REASON = "Given up for good"


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
        theirs = select(Notification.id).where(*of_notification)
        conditions.append(Delivery.notification_id.in_(theirs))
    return and_(*conditions)


def list_dead_letters(
    session: Session, which: DeadLetterFilter, page: PageParameters
) -> dict[str, Any]:
    dead = (
        select(*Delivery.__table__.c, Notification.sender_id, Notification.recipient_id)
        .add_columns(Notification.category)
        .join(Notification, Notification.id == Delivery.notification_id)
        .where(build_condition(which))
    )
    return paginate(session, dead, page, Delivery.id)


def replay_dead_letters(
    session: Session, actor: User, which: DeadLetterFilter
) -> DeadLetterOperation:
    """Each is tried as often and as long as a new one. What is not dead any more stays as it is."""
    again = {"status": PENDING, "attempts": 0, "last_error": None}
    times = {"run_at": func.now(), "queued_at": func.now()}
    revived = update(Delivery).where(build_condition(which)).values(**again, **times)
    count = len(session.scalars(revived.returning(Delivery.id)).all())
    return record_operation(session, actor, "replay", which, count)


def purge_dead_letters(
    session: Session, actor: User, which: DeadLetterPurge
) -> DeadLetterOperation:
    """They stay on record, as cancelled. A dry run counts, and changes nothing."""
    if which.dry_run:
        count = session.scalar(
            select(func.count()).select_from(Delivery).where(build_condition(which))
        )
        return build_operation(actor, "purge", which, count or 0)
    given_up = (
        update(Delivery)
        .where(build_condition(which))
        .values(status=CANCELLED, last_error=PURGED_REASON)
    )
    ended = session.scalars(given_up.returning(Delivery.notification_id)).all()
    redact_finished(session, ended)
    return record_operation(session, actor, "purge", which, len(ended))


def record_operation(
    session: Session, actor: User, action: str, which: DeadLetterFilter, count: int
) -> DeadLetterOperation:
    done = build_operation(actor, action, which, count)
    session.add(done)
    session.flush()
    return done


def build_operation(
    actor: User, action: str, which: DeadLetterFilter, count: int
) -> DeadLetterOperation:
    return DeadLetterOperation(
        action=action,
        actor_id=actor.user_id,
        acting_service=actor.actor,
        which=which.model_dump(mode="json", exclude_none=True),
        count=count,
        trace_id=get_trace_id(),
    )


def list_operations(session: Session, page: PageParameters) -> dict[str, Any]:
    return paginate(session, select(DeadLetterOperation), page, DeadLetterOperation.id)
