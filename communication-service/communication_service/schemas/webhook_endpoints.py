"""Requests and responses about webhook endpoints."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from chassis.schemas import RequestModel, ResponseModel, Text, example

from ..categories import Category

Categories = Annotated[
    list[Category] | None, Field(min_length=1, max_length=50, description="Null is all.")
]
Url = Annotated[
    Text, Field(min_length=1, max_length=2000, description="An http(s) URL of a public host.")
]
EXAMPLE_URL = "https://example.com/hooks"


class WebhookEndpointCreate(RequestModel):
    model_config = example(url=EXAMPLE_URL, categories=["documents"])

    url: Url
    categories: Categories = None


class WebhookEndpointUpdate(RequestModel):
    """Changes the given fields only."""

    model_config = example(url=EXAMPLE_URL)

    # With plain defaults in the document, generated clients would send them.
    url: Url = Field(default_factory=str)
    categories: Categories = None
    status: Literal["enabled", "disabled"] = Field(
        default_factory=lambda: "enabled",
        description="`enabled` also ends a pause and forgets failures.",
    )


class SecretRotation(RequestModel):
    model_config = example(keep_old_seconds=3600)

    keep_old_seconds: int = Field(
        default=24 * 60 * 60,
        ge=0,
        le=7 * 24 * 60 * 60,
        description="How long webhooks are signed with the old secret, too.",
    )


class WebhookEndpointRead(ResponseModel):
    id: UUID
    url: str
    categories: list[str] | None = Field(description="Null is all.")
    status: Literal["enabled", "paused", "disabled"] = Field(
        description="`paused` while it keeps failing: one webhook at a time probes it."
    )
    reason: str | None = Field(description="Why it is paused or disabled.")
    failures: int = Field(description="How many deliveries in a row have failed.")
    failing_since: datetime | None
    probe_at: datetime | None = Field(description="When a paused endpoint is tried again.")
    old_secret_until: datetime | None = Field(
        description="Until when webhooks are signed with the previous secret, too."
    )
    created_at: datetime


class WebhookEndpointWithSecret(WebhookEndpointRead):
    secret: str = Field(description="Verifies signatures (Standard Webhooks); shown only here.")
