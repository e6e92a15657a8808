"""content.fetch: what there is to know about a document, but its text."""

from uuid import UUID

from ..engine.outcomes import Call, Done, Input

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


class FetchInput(Input):
    document_id: UUID


def fetch(call: Call, given: FetchInput) -> Done:
    document = call.ask(call.neighbours.content, "GET", f"documents/{given.document_id}")
    return Done({field: document[field] for field in FIELDS})
