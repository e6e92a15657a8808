"""Entries of a document's audit trail."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from chassis.schemas import ResponseModel


class AuditEntryRead(ResponseModel):
    id: UUID
    action: str
    actor_id: UUID | None = Field(
        description="Null when a share link was used, or when the service acted on its own."
    )
    acting_service: str | None = Field(description="The service that acted for the user.")
    at: datetime
    trace_id: str | None
    details: dict[str, Any]
