"""Documents, one or many at a time, their versions, texts and files, and the search for them."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import UploadFile
from pydantic import AwareDatetime, BaseModel, Field, ValidationInfo, field_validator

from chassis.schemas import RequestModel, ResponseModel, Text

from .fields import Body, ProcessingStatus, Tag, Tags, Title


class DocumentCreate(RequestModel):
    title: Title
    body: Body
    tags: Tags = Field(default=[])


class DocumentUpload(RequestModel):
    file: UploadFile
    title: Title | None = Field(default=None, description="Without one, the file's name.")
    tags: Tags = Field(default=[])


class FileReplacement(RequestModel):
    file: UploadFile


class DocumentUpdate(RequestModel):
    """Changes the fields that are given; a field that is missing or null keeps its value."""

    title: Title | None = None
    body: Body | None = None
    tags: Tags | None = None


class SnapshotRead(ResponseModel):
    """Holds the fields that a document and each of its versions have in common."""

    title: str
    tags: list[str]
    content_type: str
    filename: str | None = Field(description="Null for a text document.")
    size: int = Field(description="In bytes.")
    sha256: str
    created_at: datetime


class DocumentRead(SnapshotRead):
    id: UUID
    owner_id: UUID
    version: int
    updated_at: datetime


class DocumentWithBody(DocumentRead):
    body: str | None = Field(description="Null for an uploaded file.")


class DocumentUploaded(DocumentWithBody):
    duplicate_of: UUID | None = Field(description="The oldest visible document with this file.")


class TrashedDocument(DocumentRead):
    deleted_at: datetime


class DocumentStats(ResponseModel):
    """Counts the documents that the caller may see."""

    documents: int
    bytes: int
    by_type: dict[str, int] = Field(description="Documents of each content type.")
    owned: int = Field(description="Documents that the caller owns.")


class BulkRequest(RequestModel):
    action: Literal["delete", "restore", "tag"]
    document_ids: list[UUID] = Field(min_length=1, max_length=100)
    tags: Tags = Field(
        default=[], validate_default=True, description="Tags to add, for the action tag only."
    )

    @field_validator("tags")
    @classmethod
    def check_tags(cls, tags: list[str], info: ValidationInfo) -> list[str]:
        if "action" in info.data and bool(tags) != (info.data["action"] == "tag"):
            raise ValueError("are required for the action tag and not allowed for the others")
        return tags


class BulkOutcome(ResponseModel):
    """Tells what the same request for this document alone would have answered."""

    document_id: UUID
    status: int
    code: str | None = None
    detail: str | None = None


class BulkResult(ResponseModel):
    results: list[BulkOutcome] = Field(description="In the order of document_ids.")
    succeeded: int
    failed: int


class VersionLabel(RequestModel):
    label: Tag | None = Field(description="Null removes the label.")


class VersionRead(SnapshotRead):
    document_id: UUID
    number: int
    author_id: UUID
    label: str | None


class VersionWithBody(VersionRead):
    body: str | None = Field(description="Null for an uploaded file.")


class ProcessingRead(ResponseModel):
    document_id: UUID
    version: int
    status: ProcessingStatus
    attempts: int
    error: str | None = Field(
        validation_alias="last_error", description="The reason why the last attempt failed."
    )
    text: str | None
    language: str | None = Field(description="A code of ISO 639-1, such as en.")
    word_count: int | None
    page_count: int | None = Field(description="Pages, sheets or slides.")
    sha256: str
    stale: bool = Field(default=False, description="Whether the document has changed since then.")
    finished_at: datetime | None


SearchWords = Annotated[Text, Field(min_length=1, max_length=200)]
ContentType = Annotated[Text, Field(max_length=100)]


class SearchFilters(BaseModel):
    """Narrows a search: a document must match every filter that is given."""

    q: SearchWords
    tag: Tags = Field(default=[], description="Repeat it to find documents with all these tags.")
    type: ContentType | None = Field(default=None, description="Such as application/pdf.")
    owner: UUID | None = None
    created_from: AwareDatetime | None = None
    created_before: AwareDatetime | None = None


class SearchResult(DocumentRead):
    rank: float
    snippet: str = Field(description="Escaped HTML; the matching words are in <mark> elements.")


class Suggestions(ResponseModel):
    items: list[str]


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class VersionReference(ResponseModel):
    document_id: UUID
    number: int


class DamagedFile(ResponseModel):
    sha256: str
    fault: Literal["missing", "damaged"]
    versions: list[VersionReference] = Field(description="Up to a hundred that use the file.")


class IntegrityReport(ResponseModel):
    checked: int
    items: list[DamagedFile]
    next_cursor: str | None
