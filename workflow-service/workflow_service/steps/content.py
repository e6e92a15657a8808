"""content.fetch, content.process and content.share: what is done with a document."""

from datetime import timedelta
from typing import Literal
from uuid import UUID

from ..engine.statuses import now
from .protocol import Done, NonRetryableError, Pending, StepAttempt, StepType

DOCUMENT_FIELDS = (
    "id",
    "owner_id",
    "title",
    "content_type",
    "filename",
    "size",
    "sha256",
    "version",
    "tags",
)
PROCESSING_FIELDS = ("document_id", "version", "word_count", "page_count", "sha256")
MAX_POLL_SECONDS = 5.0  # seconds between two questions
MAX_POLLS = 360  # half an hour
LEVELS = ("read", "write", "manage")


class FetchDocument(StepType):
    """What there is to know about a document, but its text."""

    document_id: UUID

    def perform(self, attempt: StepAttempt) -> Done:
        document = attempt.call_service(
            attempt.neighbours.content, "GET", f"documents/{self.document_id}"
        )
        return Done({field: document[field] for field in DOCUMENT_FIELDS})


class ProcessDocument(StepType):
    """Have the text of a document extracted, and wait until it is."""

    document_id: UUID

    def perform(self, attempt: StepAttempt) -> Done | Pending:
        polls = attempt.step.memory.get("polls", 0)
        method, verb = ("GET", "processing") if polls else ("POST", "process")
        path = f"documents/{self.document_id}/{verb}"
        processing = attempt.call_service(attempt.neighbours.content, method, path)
        if processing["status"] == "done":
            return Done({field: processing[field] for field in PROCESSING_FIELDS})
        if processing["status"] == "failed":
            raise NonRetryableError(f"The document cannot be processed: {processing['error']}")
        if polls >= MAX_POLLS:
            raise NonRetryableError("The document was not processed within half an hour")
        pause = min(MAX_POLL_SECONDS, 0.1 * 2.0 ** min(polls, 10))
        return Pending(now() + timedelta(seconds=pause), {"polls": polls + 1})


class ShareDocument(StepType):
    """Give a person access to a document."""

    document_id: UUID
    user_id: UUID
    level: Literal["read", "write", "manage"] = "read"

    def perform(self, attempt: StepAttempt) -> Done:
        """Takes nothing away: who may do more than asked, the owner above all, keeps it."""
        path, user_id = f"documents/{self.document_id}/permissions", str(self.user_id)
        of_them = {"user": user_id}
        found = attempt.call_service(
            attempt.neighbours.content, "GET", f"{path}/effective", params=of_them
        )
        level = found["level"]
        if level is None or LEVELS.index(level) < LEVELS.index(self.level):
            level = self.level
            attempt.call_service(
                attempt.neighbours.content, "PUT", f"{path}/{user_id}", {"level": level}
            )
        return Done({"document_id": str(self.document_id), "user_id": user_id, "level": level})
