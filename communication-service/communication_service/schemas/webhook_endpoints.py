"""Requests and responses about webhook endpoints."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from chassis.schemas import RequestModel, ResponseModel, Text

from ..categories import Category

Categories = Annotated[list[Category] | None, Field(min_length=1, max_length=50)]
Url = Annotated[Text, Field(min_length=1, max_length=2000)]


class WebhookEndpointCreate(RequestModel):
    url: Url
    categories: Categories = None


class WebhookEndpointUpdate(RequestModel):
    """Changes the given fields only."""

    url: Url = ""
    categories: Categories = None
    status: Literal["enabled", "disabled"] = "enabled"


class SecretRotation(RequestModel):
    keep_old_seconds: int = Field(default=24 * 60 * 60, ge=0, le=7 * 24 * 60 * 60)


class WebhookEndpointRead(ResponseModel):
    id: UUID
    url: str
    categories: list[str] | None
    status: str
    reason: str | None
    failures: int
    failing_since: datetime | None
    probe_at: datetime | None
    old_secret_until: datetime | None
    created_at: datetime


class WebhookEndpointWithSecret(WebhookEndpointRead):
    secret: str
