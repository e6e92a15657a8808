"""content.fetch: what there is to know about a document, but its text."""

from uuid import UUID

from pydantic import BaseModel

from chassis.schemas import STRICT

from ..engine.outcomes import Call, Done

FIELDS = (
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


class FetchInput(BaseModel):
    model_config = STRICT

    document_id: UUID


def fetch(call: Call, given: FetchInput) -> Done:
    document = call.ask(call.neighbours.content, "GET", f"documents/{given.document_id}")
    return Done({field: document[field] for field in FIELDS})
