"""Webhook endpoints: the URLs to which the caller's notifications are sent (Standard Webhooks)."""

from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from chassis.auth import CurrentUser
from chassis.openapi import raises
from chassis.pagination import Page, PageRequest
from chassis.routing import APIRouter
from chassis.service_client import run_from_thread
from chassis.untrusted_http import ForbiddenTarget

from .. import webhook_endpoints
from ..database import DbSession
from ..models import WebhookEndpoint
from ..schemas.webhook_endpoints import (
    SecretRotation,
    WebhookEndpointCreate,
    WebhookEndpointRead,
    WebhookEndpointUpdate,
    WebhookEndpointWithSecret,
)
from .dependencies import Idempotent, WebhookClient

router = APIRouter(prefix="/webhook-endpoints", tags=["Webhook endpoints"])


def check_public_url(client: WebhookClient, url: str) -> None:
    """Raises ForbiddenTarget; each webhook is checked again when it is sent."""
    run_from_thread(partial(client.check_url, url))


@router.get("", response_model=Page[WebhookEndpointRead])
def list_webhook_endpoints(
    page: PageRequest, user: CurrentUser, session: DbSession
) -> dict[str, Any]:
    """List the caller's webhook endpoints, newest first."""
    return webhook_endpoints.list_endpoints(session, user, page)


@router.post(
    "", response_model=WebhookEndpointWithSecret, status_code=201, dependencies=[Idempotent]
)
@raises(webhook_endpoints.TooManyEndpoints, ForbiddenTarget)
def create_webhook_endpoint(
    new: WebhookEndpointCreate, user: CurrentUser, session: DbSession, client: WebhookClient
) -> WebhookEndpoint:
    """Send the caller's notifications to a URL; only this answer contains the secret."""
    webhook_endpoints.check_endpoint_limit(session, user)
    check_public_url(client, new.url)
    return webhook_endpoints.create_endpoint(session, user, new)


@router.get("/{endpoint_id}", response_model=WebhookEndpointRead)
@raises(webhook_endpoints.UnknownEndpoint)
def get_webhook_endpoint(
    endpoint_id: UUID, user: CurrentUser, session: DbSession
) -> WebhookEndpoint:
    """Get a webhook endpoint and its health."""
    return webhook_endpoints.get_endpoint(session, user, endpoint_id)


@router.patch("/{endpoint_id}", response_model=WebhookEndpointRead)
@raises(webhook_endpoints.UnknownEndpoint, ForbiddenTarget)
def update_webhook_endpoint(
    endpoint_id: UUID,
    change: WebhookEndpointUpdate,
    user: CurrentUser,
    session: DbSession,
    client: WebhookClient,
) -> WebhookEndpoint:
    """Change the URL or the categories of an endpoint; disable it, or enable it again."""
    if "url" in change.model_fields_set:
        check_public_url(client, change.url)
    return webhook_endpoints.update_endpoint(session, user, endpoint_id, change)


@router.delete("/{endpoint_id}", status_code=204)
@raises(webhook_endpoints.UnknownEndpoint)
def delete_webhook_endpoint(endpoint_id: UUID, user: CurrentUser, session: DbSession) -> None:
    """Delete an endpoint; deliveries that wait for it are not sent any more."""
    webhook_endpoints.delete_endpoint(session, user, endpoint_id)


@router.post(
    "/{endpoint_id}/rotate-secret",
    response_model=WebhookEndpointWithSecret,
    dependencies=[Idempotent],
)
@raises(webhook_endpoints.UnknownEndpoint)
def rotate_webhook_secret(
    endpoint_id: UUID, rotation: SecretRotation, user: CurrentUser, session: DbSession
) -> WebhookEndpoint:
    """Create a new secret; for a while, webhooks are signed with the old one as well."""
    keep_old = timedelta(seconds=rotation.keep_old_seconds)
    return webhook_endpoints.rotate_secret(session, user, endpoint_id, keep_old)
