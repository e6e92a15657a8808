"""The state and the result of extracting a document's text."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field

from chassis.job_queue import PENDING
from chassis.schemas import ResponseModel


def translate_status(status: str) -> str:
    """Return the API's word for a status of the queue."""
    return "queued" if status == PENDING else status


class ProcessingRead(ResponseModel):
    document_id: UUID
    version: int
    status: Annotated[
        Literal["queued", "running", "done", "failed"], BeforeValidator(translate_status)
    ]
    attempts: int
    error: str | None = Field(
        validation_alias="last_error", description="The reason why the last attempt failed."
    )
    text: str | None
    language: str | None = Field(description="A code of ISO 639-1, such as en.")
    word_count: int | None
    page_count: int | None = Field(description="Pages, sheets or slides.")
    sha256: str
    stale: bool = Field(
        default=False, description="Whether the document has changed since this version."
    )
    finished_at: datetime | None
