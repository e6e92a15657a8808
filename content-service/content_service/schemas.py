"""What goes in and out over HTTP."""

from datetime import UTC, datetime, timedelta
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
    ValidationInfo,
    field_validator,
    model_validator,
)

from chassis.job_queue import PENDING
from chassis.schemas import STRICT, Text, check_text

from .models import Level


def check_expiry(time: datetime) -> datetime:
    """Within them: what expires in the year 9999 never does, and overflows in some time zones."""
    left = time - datetime.now(UTC)
    if not timedelta(0) < left < timedelta(days=3653):
        raise ValueError("must lie in the future, within ten years")
    return time


# In this order: what is stripped away does not count.
StrippedText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Title = Annotated[StrippedText, Field(max_length=200), AfterValidator(check_text)]
Tag = Annotated[StrippedText, Field(max_length=50), AfterValidator(check_text)]
Body = Annotated[Text, Field(max_length=1_000_000)]
Tags = Annotated[list[Tag], Field(max_length=20)]
Expiry = Annotated[AwareDatetime, AfterValidator(check_expiry)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
SearchWords = Annotated[Text, Field(min_length=1, max_length=200)]


class Given(BaseModel):
    """What comes in: with a field that is unknown it is refused."""

    model_config = STRICT


class DocumentCreate(Given):
    title: Title
    body: Body
    tags: Tags = []


class DocumentUpload(Given):
    file: UploadFile
    title: Title | None = Field(default=None, description="The file's name, when not given.")
    tags: Tags = []


class FileReplacement(Given):
    file: UploadFile


class VersionLabel(Given):
    label: Tag | None = Field(description="Null takes the label off.")


class DocumentUpdate(Given):
    """What is left out, or null, stays as it is."""

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


class SearchResult(DocumentRead):
    rank: float
    snippet: str = Field(description="HTML: escaped text in which <mark> is around what was found.")


class Suggestions(BaseModel):
    items: list[str]


class DocumentStats(BaseModel):
    """Counts what the caller may see."""

    documents: int
    bytes: int
    by_type: dict[str, int]
    owned: int


class DocumentUploaded(DocumentWithBody):
    duplicate_of: UUID | None = Field(
        description="The oldest other document with this very file, of those the caller may see."
    )


class TrashedDocument(DocumentRead):
    deleted_at: datetime


class BulkRequest(Given):
    action: Literal["delete", "restore", "tag"]
    document_ids: Annotated[list[UUID], Field(min_length=1, max_length=100)]
    tags: Tags = Field(default=[], validate_default=True, description="To add, for the action tag.")

    @field_validator("tags")
    @classmethod
    def check_tags(cls, tags: list[str], info: ValidationInfo) -> list[str]:
        if "action" in info.data and bool(tags) != (info.data["action"] == "tag"):
            raise ValueError("are for the action tag, which needs at least one, and for no other")
        return tags


class BulkOutcome(BaseModel):
    """As the same request for this document alone would have ended."""

    document_id: UUID
    status: int
    code: str | None = None
    detail: str | None = None


class BulkResult(BaseModel):
    results: list[BulkOutcome]
    succeeded: int
    failed: int


class VersionReference(BaseModel):
    document_id: UUID
    number: int


class DamagedFile(BaseModel):
    sha256: str
    fault: Literal["missing", "damaged"]
    versions: list[VersionReference] = Field(description="Those that name it, at most a hundred.")


class IntegrityReport(BaseModel):
    checked: int
    items: list[DamagedFile]
    next_cursor: str | None


class VersionRead(SnapshotRead):
    document_id: UUID
    number: int
    author_id: UUID
    label: str | None


class VersionWithBody(VersionRead):
    body: str | None


def translate_status(status: str) -> str:
    return "queued" if status == PENDING else status  # the queue's own word for it


class ProcessingRead(BaseModel):
    document_id: UUID
    version: int
    status: Annotated[
        Literal["queued", "running", "done", "failed"], BeforeValidator(translate_status)
    ]
    attempts: int
    error: str | None = Field(validation_alias="last_error", description="Of the last attempt.")
    text: str | None
    language: str | None = Field(description="The code of ISO 639-1.")
    word_count: int | None
    page_count: int | None = Field(description="Or sheets, or slides.")
    sha256: str
    stale: bool = Field(default=False, description="The document has a newer version by now.")
    finished_at: datetime | None


class PermissionWrite(Given):
    level: Level
    expires_at: Expiry | None = None


class PermissionRead(BaseModel):
    """Of a person or of a role."""

    document_id: UUID
    user_id: UUID | None
    role: str | None
    level: Level
    expires_at: datetime | None
    granted_by: UUID
    granted_at: datetime


class PermissionSource(BaseModel):
    """One reason for which somebody may do something with a document."""

    source: Literal["owner", "user", "role", "administrator"]
    role: str | None = None
    level: Level
    expires_at: datetime | None = None


class EffectivePermission(BaseModel):
    """What somebody can really do: by what was granted, and by what their own roles permit."""

    user_id: UUID
    level: Level | None = Field(description="The highest that was granted.")
    read: bool
    write: bool
    delete: bool
    sources: list[PermissionSource]


class ShareLinkCreate(Given):
    policy: Literal["pinned", "latest"]
    version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(
        default=None, description="The one to pin: the newest, when not given."
    )
    expires_at: Expiry | None = None
    max_uses: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    password: Annotated[str, Field(min_length=8, max_length=200, pattern=r"^[ -~]+$")] | None = (
        Field(default=None, description="In ASCII: of other text no two browsers send the same.")
    )

    @model_validator(mode="after")
    def check_version(self) -> "ShareLinkCreate":
        if self.policy == "latest" and self.version is not None:
            raise ValueError("version: is only for the policy pinned")
        return self


class ShareLinkRead(BaseModel):
    id: UUID
    document_id: UUID
    policy: Literal["pinned", "latest"]
    version: int | None
    expires_at: datetime | None
    max_uses: int | None
    uses: int
    has_password: bool
    created_by: UUID
    created_at: datetime
    revoked_at: datetime | None


class ShareLinkCreated(ShareLinkRead):
    """The only answer with the token: only its hash is kept."""

    token: str
    url: str


class AuditEntryRead(BaseModel):
    id: UUID
    action: str
    actor_id: UUID | None = Field(description="Null through a share link, or the service itself.")
    acting_service: str | None
    at: datetime
    trace_id: str | None
    details: dict[str, Any]
