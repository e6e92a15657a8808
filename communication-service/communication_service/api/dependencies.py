"""Dependencies of the endpoints: which permission a caller needs, and what else they use."""

from typing import Annotated

from fastapi import Depends, Request

from chassis.auth import User, require_permission
from chassis.celery_app import notify_workers_after_commit
from chassis.idempotency import idempotent
from chassis.untrusted_http import UntrustedHttpClient

from ..celery_app import deliver_due
from ..database import DbSession
from ..settings import Settings

Sender = Annotated[User, require_permission("notifications:send")]
TemplateReader = Annotated[User, require_permission("templates:read")]
TemplateAuthor = Annotated[User, require_permission("templates:write")]
QueueReader = Annotated[User, require_permission("queue:read")]
QueueOperator = Annotated[User, require_permission("queue:write")]
SuppressionEditor = Annotated[User, require_permission("suppressions:write")]

Idempotent = idempotent(DbSession)
NotifyWorkers = notify_workers_after_commit(deliver_due)
Queueing = [Idempotent, NotifyWorkers]  # for requests that put deliveries into the queue


async def get_settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def get_webhook_client(request: Request) -> UntrustedHttpClient:
    client: UntrustedHttpClient = request.app.state.webhook_client
    return client


CurrentSettings = Annotated[Settings, Depends(get_settings)]
WebhookClient = Annotated[UntrustedHttpClient, Depends(get_webhook_client)]
