"""Versions of a document, and their labels."""

from uuid import UUID

from pydantic import Field

from chassis.schemas import RequestModel

from .documents import SnapshotRead
from .fields import Tag


class VersionLabel(RequestModel):
    label: Tag | None = Field(description="Null removes the label.")


class VersionRead(SnapshotRead):
    document_id: UUID
    number: int
    author_id: UUID
    label: str | None


class VersionWithBody(VersionRead):
    body: str | None = Field(description="Null for an uploaded file.")
