"""content.fetch, content.process and content.share: what is done with a document."""

from datetime import timedelta
from typing import ClassVar, Literal
from uuid import UUID

from chassis.clock import now

from .protocol import (
    Done,
    NonRetryableError,
    Pending,
    StepAttempt,
    StepMemory,
    StepOutput,
    StepType,
    register,
)

MAX_POLL_SECONDS = 5.0
MAX_POLLS = 360  # about half an hour
LEVELS = ("read", "write", "manage")


class DocumentOutput(StepOutput):
    id: UUID
    owner_id: str
    title: str
    content_type: str
    filename: str | None
    size: int | None
    sha256: str | None
    version: int
    tags: list[str]


class ProcessingOutput(StepOutput):
    document_id: UUID
    version: int
    word_count: int | None
    page_count: int | None
    sha256: str | None


class ShareOutput(StepOutput):
    document_id: UUID
    user_id: UUID
    level: str


@register("content.fetch")
class FetchDocument(StepType):
    """Reads everything about a document but its text."""

    output_model: ClassVar[type[StepOutput]] = DocumentOutput

    document_id: UUID

    def perform(self, attempt: StepAttempt) -> Done:
        path = f"documents/{self.document_id}"
        document = attempt.call_service(attempt.neighbours.content, "GET", path)
        return Done({field: document[field] for field in DocumentOutput.model_fields})


class ProcessingMemory(StepMemory):
    """Remembers how often content was asked whether the text is there."""

    polls: int = 0


@register("content.process")
class ProcessDocument(StepType):
    """Has the text of a document extracted, and waits until it is there."""

    output_model: ClassVar[type[StepOutput]] = ProcessingOutput

    document_id: UUID

    def perform(self, attempt: StepAttempt) -> Done | Pending:
        memory = ProcessingMemory.load(attempt.step) or ProcessingMemory()
        method = "GET" if memory.polls else "POST"
        path = f"documents/{self.document_id}/{'processing' if memory.polls else 'process'}"
        processing = attempt.call_service(attempt.neighbours.content, method, path)
        if processing["status"] == "done":
            return Done({field: processing[field] for field in ProcessingOutput.model_fields})
        if processing["status"] == "failed":
            raise NonRetryableError(f"The document cannot be processed: {processing['error']}")
        if memory.polls >= MAX_POLLS:
            raise NonRetryableError("The document was not processed within half an hour")
        pause = min(MAX_POLL_SECONDS, 0.1 * 2.0 ** min(memory.polls, 10))
        return Pending(now() + timedelta(seconds=pause), ProcessingMemory(polls=memory.polls + 1))


@register("content.share")
class ShareDocument(StepType):
    """Gives a user access to a document; never lowers the level that the user has."""

    output_model: ClassVar[type[StepOutput]] = ShareOutput

    document_id: UUID
    user_id: UUID
    level: Literal["read", "write", "manage"] = "read"

    def perform(self, attempt: StepAttempt) -> Done:
        content = attempt.neighbours.content
        user_id = str(self.user_id)
        path = f"documents/{self.document_id}/permissions"
        found = attempt.call_service(content, "GET", f"{path}/effective", params={"user": user_id})
        level = found["level"]
        if level is None or LEVELS.index(level) < LEVELS.index(self.level):
            level = self.level
            attempt.call_service(content, "PUT", f"{path}/{user_id}", {"level": level})
        return Done({"document_id": str(self.document_id), "user_id": user_id, "level": level})
