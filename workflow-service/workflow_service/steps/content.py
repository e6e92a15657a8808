"""content.fetch, content.process and content.share: what is done with a document."""

from datetime import timedelta
from typing import Literal
from uuid import UUID

from ..engine.statuses import now
from .protocol import Again, Call, Done, Kind, Terminal

KNOWN = ("id", "owner_id", "title", "content_type", "filename", "size", "sha256", "version", "tags")
PROCESSED = ("document_id", "version", "word_count", "page_count", "sha256")
LONGEST_PAUSE = 5.0  # seconds between two questions
MOST_POLLS = 360  # half an hour
LEVELS = ("read", "write", "manage")


class Fetch(Kind):
    """What there is to know about a document, but its text."""

    document_id: UUID

    def perform(self, call: Call) -> Done:
        document = call.ask(call.neighbours.content, "GET", f"documents/{self.document_id}")
        return Done({field: document[field] for field in KNOWN})


class Process(Kind):
    """Have the text of a document extracted, and wait until it is."""

    document_id: UUID

    def perform(self, call: Call) -> Done | Again:
        polls = call.step.memory.get("polls", 0)
        method, verb = ("GET", "processing") if polls else ("POST", "process")
        path = f"documents/{self.document_id}/{verb}"
        processing = call.ask(call.neighbours.content, method, path)
        if processing["status"] == "done":
            return Done({field: processing[field] for field in PROCESSED})
        if processing["status"] == "failed":
            raise Terminal(f"The document cannot be processed: {processing['error']}")
        if polls >= MOST_POLLS:
            raise Terminal("The document was not processed within half an hour")
        pause = min(LONGEST_PAUSE, 0.1 * 2.0 ** min(polls, 10))
        return Again(now() + timedelta(seconds=pause), {"polls": polls + 1})


class Share(Kind):
    """Give a person access to a document."""

    document_id: UUID
    user_id: UUID
    level: Literal["read", "write", "manage"] = "read"

    def perform(self, call: Call) -> Done:
        """Takes nothing away: who may do more than asked, the owner above all, keeps it."""
        path, user_id = f"documents/{self.document_id}/permissions", str(self.user_id)
        of_them = {"user": user_id}
        found = call.ask(call.neighbours.content, "GET", f"{path}/effective", params=of_them)
        level = found["level"]
        if level is None or LEVELS.index(level) < LEVELS.index(self.level):
            level = self.level
            call.ask(call.neighbours.content, "PUT", f"{path}/{user_id}", {"level": level})
        return Done({"document_id": str(self.document_id), "user_id": user_id, "level": level})
