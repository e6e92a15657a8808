"""Documents, one or many at a time, and the trash."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from fastapi import UploadFile
from pydantic import Field, ValidationInfo, field_validator

from chassis.schemas import RequestModel, ResponseModel

from .fields import Body, Tags, Title


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
    duplicate_of: UUID | None = Field(
        description="The oldest document with the same file, of those the caller may see."
    )


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
