"""Documents, one or many at a time, their versions, texts and files, and the search for them."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import UploadFile
from pydantic import BaseModel, Field, ValidationInfo, field_validator

from chassis.schemas import RequestModel, ResponseModel, Text, Time, example

from .fields import Body, ProcessingStatus, Tag, Tags, Title


class DocumentCreate(RequestModel):
    model_config = example(title="Minutes", body="We met on Monday.", tags=["board"])

    title: Title
    body: Body = Field(description="The text of the document.")
    tags: Tags = Field(default=[])


class DocumentUpload(RequestModel):
    model_config = example(file="# Minutes", title="Minutes", tags=["board"])

    file: UploadFile = Field(description="PDF, DOCX, XLSX, PPTX, HTML, Markdown or text in UTF-8.")
    title: Title | None = Field(default=None, description="Without one, the file's name.")
    tags: Tags = Field(default=[])


class FileReplacement(RequestModel):
    model_config = example(file="# Minutes, corrected")

    file: UploadFile = Field(description="PDF, DOCX, XLSX, PPTX, HTML, Markdown or text in UTF-8.")


class DocumentUpdate(RequestModel):
    """Changes the fields that are given; a field that is missing or null keeps its value."""

    model_config = example(title="Minutes of Monday", tags=["board", "signed"])

    title: Title | None = None
    body: Body | None = None
    tags: Tags | None = None


class SnapshotRead(ResponseModel):
    """Holds the fields that a document and each of its versions have in common."""

    title: str
    tags: list[str]
    content_type: str = Field(description="Found by the content; `text/plain` for a text.")
    filename: str | None = Field(description="Null for a text document.")
    size: int = Field(description="In bytes.")
    sha256: str = Field(description="Of the file, or of the text in UTF-8, in hexadecimal.")
    created_at: datetime


class DocumentRead(SnapshotRead):
    id: UUID
    owner_id: UUID
    version: int = Field(description="The number of the current version, from 1.")
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
    bytes: int = Field(description="The size of them all.")
    by_type: dict[str, int] = Field(description="Documents of each content type.")
    owned: int = Field(description="Documents that the caller owns.")


class BulkRequest(RequestModel):
    model_config = example(
        action="tag", document_ids=["0193a1b2-7c4d-7e8f-9a0b-1c2d3e4f5a6b"], tags=["archive"]
    )

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
    status: int = Field(description="204, or the status of the error.")
    code: str | None = Field(default=None, description="Names the error, as in a Problem.")
    detail: str | None = Field(default=None, description="What went wrong, and what to do.")


class BulkResult(ResponseModel):
    results: list[BulkOutcome] = Field(description="In the order of document_ids.")
    succeeded: int
    failed: int


class VersionLabel(RequestModel):
    model_config = example(label="as signed")

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
    version: int = Field(description="The version whose text was requested.")
    status: ProcessingStatus
    attempts: int = Field(description="How often the extraction has been tried.")
    error: str | None = Field(
        validation_alias="last_error", description="The reason why the last attempt failed."
    )
    text: str | None = Field(description="Null until the status is `done`.")
    language: str | None = Field(description="A code of ISO 639-1, such as en.")
    word_count: int | None
    page_count: int | None = Field(description="Pages, sheets or slides.")
    sha256: str = Field(description="Of the content that was read.")
    stale: bool = Field(default=False, description="Whether the document has changed since then.")
    finished_at: datetime | None


SearchWords = Annotated[Text, Field(min_length=1, max_length=200)]
ContentType = Annotated[Text, Field(max_length=100)]


class SearchFilters(BaseModel):
    """Narrows a search: a document must match every filter that is given."""

    q: SearchWords = Field(description='Words; understands "a phrase", `or`, and `-word`.')
    tag: Tags = Field(default=[], description="Repeat it to find documents with all these tags.")
    type: ContentType | None = Field(default=None, description="Such as application/pdf.")
    owner: UUID | None = Field(default=None, description="The id of the owner.")
    created_from: Time | None = Field(default=None, description="The earliest time.")
    created_before: Time | None = Field(
        default=None, description="The end of the period, which is not part of it."
    )


class SearchResult(DocumentRead):
    rank: float = Field(description="How well it matches; higher is better.")
    snippet: str = Field(description="Escaped HTML; the matching words are in <mark> elements.")


class Suggestions(ResponseModel):
    items: list[str] = Field(description="Words, the most frequent first.")


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class VersionReference(ResponseModel):
    document_id: UUID
    number: int


class DamagedFile(ResponseModel):
    sha256: str
    fault: Literal["missing", "damaged"] = Field(
        description="Damaged: its content no longer has this SHA-256."
    )
    versions: list[VersionReference] = Field(description="Up to a hundred that use the file.")


class IntegrityReport(ResponseModel):
    checked: int = Field(description="How many files this request has read.")
    items: list[DamagedFile]
    next_cursor: str | None = Field(description="The `cursor` to continue with; null at the end.")
