"""Permissions on a document: given, listed and explained."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from chassis.schemas import RequestModel, ResponseModel

from ..models import Level
from .fields import Expiry


class PermissionWrite(RequestModel):
    level: Level
    expires_at: Expiry | None = None


class PermissionRead(ResponseModel):
    """Shows the permission of a user or of a role; the other of the two ids is null."""

    document_id: UUID
    user_id: UUID | None
    role: str | None
    level: Level
    expires_at: datetime | None
    granted_by: UUID
    granted_at: datetime


class PermissionSource(ResponseModel):
    """Names one reason why a user may do something with a document."""

    source: Literal["owner", "user", "role", "administrator"]
    role: str | None = None
    level: Level
    expires_at: datetime | None = None


class EffectivePermission(ResponseModel):
    """Combines what was granted on the document with what the user's roles permit."""

    user_id: UUID
    level: Level | None = Field(description="The highest level that was granted.")
    read: bool
    write: bool
    delete: bool
    sources: list[PermissionSource]
