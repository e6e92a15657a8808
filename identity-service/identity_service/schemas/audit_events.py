"""Responses of the audit trail."""

from datetime import datetime
from typing import Any
from uuid import UUID

from chassis.schemas import ResponseModel


class AuditEventRead(ResponseModel):
    id: UUID
    at: datetime
    action: str
    actor_id: UUID | None
    acting_service: str | None
    subject_id: UUID | None
    ip: str | None
    trace_id: str | None
    details: dict[str, Any]
