"""What goes in and out over HTTP."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import UploadFile
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    Field,
    StringConstraints,
)

from chassis.claims import PENDING
from chassis.schemas import STRICT, Text, storable

from .models import Level

# In this order: what is stripped away does not count.
Stripped = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Title = Annotated[Stripped, Field(max_length=200), AfterValidator(storable)]
Tag = Annotated[Stripped, Field(max_length=50), AfterValidator(storable)]
Body = Annotated[Text, Field(max_length=1_000_000)]
Tags = Annotated[list[Tag], Field(max_length=20)]
SearchWords = Annotated[Text, Field(min_length=1, max_length=200)]


class DocumentCreate(BaseModel):
    model_config = STRICT

    title: Title
    body: Body
    tags: Tags = []


class DocumentUpload(BaseModel):
    model_config = STRICT

    file: UploadFile
    title: Title | None = Field(default=None, description="The file's name, when not given.")
    tags: Tags = []


class DocumentUpdate(BaseModel):
    """What is left out, or null, stays as it is."""

    model_config = STRICT

    title: Title | None = None
    body: Body | None = None
    tags: Tags | None = None


class SnapshotRead(BaseModel):
    """What a document and each of its versions show alike."""

    title: str
    tags: list[str]
    content_type: str
    filename: str | None = Field(description="Null for a text document.")
    size: int
    sha256: str
    created_at: datetime


class DocumentRead(SnapshotRead):
    id: UUID
    owner_id: UUID
    version: int
    updated_at: datetime


class DocumentWithBody(DocumentRead):
    body: str | None = Field(description="Null for an uploaded file.")


class SearchFilters(BaseModel):
    """All that are given must hold."""

    q: SearchWords
    tag: Tags = Field(default=[], description="Repeat it for documents with all of several.")
    type: Annotated[Text, Field(max_length=100)] | None = Field(
        default=None, description="The content type, such as application/pdf."
    )
    owner: UUID | None = None
    created_from: AwareDatetime | None = None
    created_before: AwareDatetime | None = None


class Match(DocumentRead):
    rank: float
    snippet: str = Field(description="HTML: escaped text in which <mark> is around what was found.")


class Suggestions(BaseModel):
    items: list[str]


class Stats(BaseModel):
    """Counts what the caller may see."""

    documents: int
    bytes: int
    by_type: dict[str, int]
    owned: int


class VersionRead(SnapshotRead):
    document_id: UUID
    number: int
    author_id: UUID


class VersionWithBody(VersionRead):
    body: str | None


def state_of(status: str) -> str:
    return "queued" if status == PENDING else status  # the queue's own word for it


class ProcessingRead(BaseModel):
    document_id: UUID
    version: int
    status: Annotated[Literal["queued", "running", "done", "failed"], BeforeValidator(state_of)]
    attempts: int
    error: str | None = Field(validation_alias="last_error", description="Of the last attempt.")
    text: str | None
    word_count: int | None
    page_count: int | None
    sha256: str
    stale: bool = Field(default=False, description="The document has a newer version by now.")
    finished_at: datetime | None


class PermissionWrite(BaseModel):
    model_config = STRICT

    level: Level


class PermissionRead(BaseModel):
    """Of a person or of a role."""

    document_id: UUID
    user_id: UUID | None
    role: str | None
    level: Level
    expires_at: datetime | None
    granted_by: UUID
    granted_at: datetime


class AuditEntryRead(BaseModel):
    id: UUID
    action: str
    actor_id: UUID
    acting_service: str | None
    at: datetime
    trace_id: str | None
    details: dict[str, Any]
