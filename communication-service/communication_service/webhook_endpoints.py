"""What users can do with their webhook endpoints."""

import base64
import secrets
from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, delete, func, or_, select, update
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.clock import now
from chassis.errors import Conflict, NotFound
from chassis.job_queue import PENDING
from chassis.pagination import PageParameters, paginate

from .models import DISABLED, ENABLED, SUPPRESSED, Delivery, WebhookEndpoint
from .redaction import redact_finished
from .schemas.webhook_endpoints import WebhookEndpointCreate, WebhookEndpointUpdate

MAX_ENDPOINTS_PER_USER = 10  # each of them multiplies what is sent

EndpointsByOwner = Mapping[str, list[WebhookEndpoint]]


class UnknownEndpoint(NotFound):
    """Raised when the endpoint does not exist or belongs to someone else."""


class TooManyEndpoints(Conflict):
    """Raised when the user already has as many endpoints as allowed."""


def generate_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def select_owned(user: User) -> Select[WebhookEndpoint]:
    return select(WebhookEndpoint).where(WebhookEndpoint.owner_id == user.user_id)


def find_by_owner(session: Session, owner_ids: set[str], category: str) -> EndpointsByOwner:
    """Returns the endpoints that take a notification of this category, by owner."""
    categories = WebhookEndpoint.categories
    takes_category = or_(categories.is_(None), categories.any_() == category)
    owned = select(WebhookEndpoint).where(WebhookEndpoint.owner_id.in_(owner_ids), takes_category)
    query = owned.where(WebhookEndpoint.status != DISABLED)
    found: defaultdict[str, list[WebhookEndpoint]] = defaultdict(list)
    for endpoint in session.scalars(query):
        found[endpoint.owner_id].append(endpoint)
    return found


def list_endpoints(session: Session, user: User, page: PageParameters) -> dict[str, Any]:
    return paginate(session, select_owned(user), page, WebhookEndpoint.id)


def get_endpoint(session: Session, user: User, endpoint_id: UUID) -> WebhookEndpoint:
    endpoint = session.scalar(select_owned(user).where(WebhookEndpoint.id == endpoint_id))
    if endpoint is None:
        raise UnknownEndpoint("You have no such endpoint")
    return endpoint


def check_endpoint_limit(session: Session, user: User) -> None:
    """Takes a lock until the commit, so that of two concurrent requests one sees the other."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(user.user_id, 0))))
    count = session.scalar(select_owned(user).with_only_columns(func.count()))
    if count is not None and count >= MAX_ENDPOINTS_PER_USER:
        raise TooManyEndpoints(f"You have {MAX_ENDPOINTS_PER_USER} endpoints already; delete one")


def create_endpoint(session: Session, user: User, new: WebhookEndpointCreate) -> WebhookEndpoint:
    endpoint = WebhookEndpoint(owner_id=user.user_id, secret=generate_secret(), **new.model_dump())
    session.add(endpoint)
    session.flush()
    return endpoint


def update_endpoint(
    session: Session, user: User, endpoint_id: UUID, change: WebhookEndpointUpdate
) -> WebhookEndpoint:
    """Changes the given fields; enabling an endpoint also resets its failures."""
    endpoint = get_endpoint(session, user, endpoint_id)
    changed = change.model_dump(exclude_unset=True)
    for name, value in changed.items():
        setattr(endpoint, name, value)
    if "status" in changed:
        endpoint.reason = None if endpoint.status == ENABLED else "Its owner disabled it"
        endpoint.reset_health()
    session.flush()
    return endpoint


def rotate_secret(
    session: Session, user: User, endpoint_id: UUID, keep_old: timedelta
) -> WebhookEndpoint:
    """Creates a new secret; webhooks are signed with both until the old one expires."""
    endpoint = get_endpoint(session, user, endpoint_id)
    endpoint.old_secret = endpoint.secret
    endpoint.old_secret_until = now() + keep_old
    endpoint.secret = generate_secret()
    session.flush()
    return endpoint


def delete_endpoint(session: Session, user: User, endpoint_id: UUID) -> None:
    endpoint = get_endpoint(session, user, endpoint_id)
    ended = {"status": SUPPRESSED, "last_error": "The endpoint was deleted"}
    waiting = Delivery.id.in_(select_pending_deliveries(endpoint.id))
    # The endpoint comes first because workers lock it before the notifications, too.
    session.execute(delete(WebhookEndpoint).where(WebhookEndpoint.id == endpoint.id))
    end = update(Delivery).where(waiting).values(**ended).returning(Delivery.notification_id)
    redact_finished(session, session.scalars(end).all())


def select_pending_deliveries(endpoint_id: UUID) -> Select[UUID]:
    """Selects and locks what waits; skips rows that a worker has locked, to avoid a deadlock."""
    waiting = Delivery.endpoint_id == endpoint_id, Delivery.status == PENDING
    return select(Delivery.id).where(*waiting).with_for_update(skip_locked=True)
