"""Notifications, as seen by those who send them."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter

from chassis.auth import CurrentUser, User, require_permission
from chassis.idempotency import IdempotentRoute, idempotent
from chassis.pagination import Page, PageRequest

from ..celery_app import NotifyWorkers
from ..database import DbSession
from ..models import Notification
from ..notifications import bulk
from ..notifications import service as notifications
from ..schemas.notifications import (
    Attempts,
    BulkCreate,
    BulkResult,
    NotificationCreate,
    NotificationRead,
    QueueStatus,
)

router = APIRouter(route_class=IdempotentRoute)

Sender = Annotated[User, require_permission("notifications:send")]
Operator = Annotated[User, require_permission(notifications.READ_QUEUE_PERMISSION)]
Idempotent = idempotent(DbSession)


@router.post(
    "/notifications",
    response_model=NotificationRead,
    status_code=202,
    dependencies=[Idempotent, NotifyWorkers],
)
def send_notification(new: NotificationCreate, sender: Sender, session: DbSession) -> Notification:
    """Accept a notification: it is stored, and will be delivered on each of its channels."""
    return notifications.accept_notification(session, sender, new)


@router.post(
    "/notifications/bulk",
    response_model=BulkResult,
    status_code=202,
    dependencies=[Idempotent, NotifyWorkers],
)
def send_bulk(new: BulkCreate, sender: Sender, session: DbSession) -> dict[str, Any]:
    """Accept a notification for each of up to 1,000 recipients, and say so of each."""
    return bulk.accept_bulk(session, sender, new)


@router.get("/notifications", response_model=Page[NotificationRead])
def list_notifications(page: PageRequest, user: CurrentUser, session: DbSession) -> dict[str, Any]:
    """What the caller has sent, newest first."""
    return notifications.list_notifications(session, user, page)


@router.get("/notifications/{notification_id}", response_model=NotificationRead)
def get_notification(notification_id: UUID, user: CurrentUser, session: DbSession) -> Notification:
    """A notification with the state of its deliveries, for its sender."""
    return notifications.get_notification(session, user, notification_id)


@router.get("/notifications/{notification_id}/attempts", response_model=Attempts)
def list_attempts(notification_id: UUID, user: CurrentUser, session: DbSession) -> dict[str, Any]:
    """Each attempt to deliver a notification, and what came of it."""
    return notifications.list_attempts(session, user, notification_id)


@router.get("/deliveries/{delivery_id}/attempts", response_model=Attempts)
def list_delivery_attempts(
    delivery_id: UUID, user: CurrentUser, session: DbSession
) -> dict[str, Any]:
    """Those on one channel; what is dead is for operators too."""
    return notifications.list_delivery_attempts(session, user, delivery_id)


@router.post(
    "/notifications/{notification_id}/cancel",
    response_model=NotificationRead,
    dependencies=[Idempotent],
)
def cancel_notification(notification_id: UUID, sender: Sender, session: DbSession) -> Notification:
    """Cancel what has not been sent; 409 when it may have arrived."""
    return notifications.cancel_notification(session, sender, notification_id)


@router.post(
    "/notifications/{notification_id}/retry",
    response_model=NotificationRead,
    status_code=202,
    dependencies=[Idempotent, NotifyWorkers],
)
def retry_notification(notification_id: UUID, sender: Sender, session: DbSession) -> Notification:
    """Put the dead deliveries of a notification back into the queue."""
    return notifications.retry_notification(session, sender, notification_id)


@router.get("/queue/status", response_model=QueueStatus)
def get_queue_status(operator: Operator, session: DbSession) -> dict[str, Any]:
    """How many deliveries are in which state, and how many of them are due now."""
    return notifications.get_queue_status(session)
