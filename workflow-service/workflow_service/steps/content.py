"""content.fetch, content.process and content.share: what is done with a document."""

from datetime import timedelta
from typing import ClassVar, get_args
from uuid import UUID

from chassis.clock import now

from ..contracts import (
    READ_DOCUMENT,
    READ_LEVEL,
    READ_PROCESSING,
    REQUEST_PROCESSING,
    SET_LEVEL,
    Level,
    NewLevel,
)
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
LEVELS = get_args(Level)


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
        document = attempt.call_service(READ_DOCUMENT, path={"document_id": self.document_id})
        return Done(dict(document))


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
        call = READ_PROCESSING if memory.polls else REQUEST_PROCESSING
        processing = attempt.call_service(call, path={"document_id": self.document_id})
        if processing["status"] == "done":
            values = dict(processing)
            return Done({field: values[field] for field in ProcessingOutput.model_fields})
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
    level: Level = "read"

    def perform(self, attempt: StepAttempt) -> Done:
        path = {"document_id": str(self.document_id), "user_id": str(self.user_id)}
        found = attempt.call_service(READ_LEVEL, params={"user": str(self.user_id)}, path=path)
        level = found["level"]
        if level is None or LEVELS.index(level) < LEVELS.index(self.level):
            level = self.level
            attempt.call_service(SET_LEVEL, NewLevel(level=level), path=path)
        return Done({**path, "level": level})
