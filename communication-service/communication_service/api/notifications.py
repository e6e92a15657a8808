"""Notifications: send them by email, inbox, webhook or SMS, and see what happened to them."""

from typing import Any
from uuid import UUID

from chassis.auth import CurrentUser
from chassis.openapi import raises
from chassis.pagination import Page, PageRequest
from chassis.routing import APIRouter

from ..database import DbSession
from ..models import Notification
from ..notifications import bulk, service
from ..schemas.notifications import (
    AttemptList,
    BulkNotificationCreate,
    BulkNotificationResult,
    NotificationCreate,
    NotificationRead,
)
from ..templates.rendering import BadTemplate, BadVariables
from ..templates.variables_schema import WrongVariables
from .dependencies import CurrentSettings, Idempotent, Queueing, Sender

router = APIRouter(tags=["Notifications"])

TEMPLATE_ERRORS = (BadTemplate, BadVariables, WrongVariables)


@router.post(
    "/notifications", response_model=NotificationRead, status_code=202, dependencies=Queueing
)
@raises(service.MandatoryCategory, *TEMPLATE_ERRORS)
def send_notification(
    new: NotificationCreate, sender: Sender, session: DbSession, settings: CurrentSettings
) -> Notification:
    """Send a notification: once accepted, it is delivered on each of its channels.

    The recipient's preferences decide at delivery. Read the notification to follow it.
    """
    return service.accept_notification(session, sender, new, settings)


@router.post(
    "/notifications/bulk",
    response_model=BulkNotificationResult,
    status_code=202,
    dependencies=Queueing,
)
@raises(service.MandatoryCategory, bulk.UrgentBulk)
def send_bulk_notifications(
    new: BulkNotificationCreate, sender: Sender, session: DbSession, settings: CurrentSettings
) -> BulkNotificationResult:
    """Send a notification to up to 1,000 recipients; what is wrong for one stops no other."""
    return bulk.accept_bulk(session, sender, new, settings)


@router.get("/notifications", response_model=Page[NotificationRead])
def list_notifications(page: PageRequest, user: CurrentUser, session: DbSession) -> dict[str, Any]:
    """List the notifications that the caller has sent, newest first."""
    return service.list_notifications(session, user, page)


@router.get("/notifications/{notification_id}", response_model=NotificationRead)
@raises(service.UnknownNotification)
def get_notification(notification_id: UUID, user: CurrentUser, session: DbSession) -> Notification:
    """Get a notification that the caller has sent, with the status of its deliveries."""
    return service.get_notification(session, user, notification_id)


@router.get("/notifications/{notification_id}/attempts", response_model=AttemptList)
@raises(service.UnknownNotification)
def list_notification_attempts(
    notification_id: UUID, user: CurrentUser, session: DbSession
) -> AttemptList:
    """List each attempt to deliver a notification, with its outcome."""
    return service.list_attempts(session, user, notification_id)


@router.get("/deliveries/{delivery_id}/attempts", response_model=AttemptList)
@raises(service.UnknownDelivery)
def list_delivery_attempts(delivery_id: UUID, user: CurrentUser, session: DbSession) -> AttemptList:
    """List the attempts of one delivery; operators may see those of dead deliveries."""
    return service.list_delivery_attempts(session, user, delivery_id)


@router.post(
    "/notifications/{notification_id}/cancel",
    response_model=NotificationRead,
    dependencies=[Idempotent],
)
@raises(service.UnknownNotification, service.NothingToCancel, service.MayHaveArrived)
def cancel_notification(notification_id: UUID, sender: Sender, session: DbSession) -> Notification:
    """Cancel what has not been sent yet; answers 409 when it may have arrived already."""
    return service.cancel_notification(session, sender, notification_id)


@router.post(
    "/notifications/{notification_id}/retry",
    response_model=NotificationRead,
    status_code=202,
    dependencies=Queueing,
)
@raises(service.UnknownNotification, service.NothingToRetry)
def retry_notification(notification_id: UUID, sender: Sender, session: DbSession) -> Notification:
    """Put the dead deliveries of a notification back into the queue."""
    return service.retry_notification(session, sender, notification_id)
