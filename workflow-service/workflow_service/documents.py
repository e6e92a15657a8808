"""Documents, as the content service has them."""

from uuid import UUID

from chassis.errors import Conflict, NotFound
from chassis.service_client import ServiceClient


class NoTextYet(Conflict):
    """A file whose text has not been extracted."""


def text_of(content: ServiceClient, document_id: UUID, reader_id: str) -> str:
    """A document's text, read with the reader's rights; raises NoTextYet, and content's errors."""
    path = f"/api/v1/documents/{document_id}"
    document = content.call("GET", path, on_behalf_of=reader_id)
    text = document["body"] or extracted_text(content, path, reader_id)
    if not text:
        raise NoTextYet(f"No text of the document is known: POST {path}/process, or look there why")
    return str(text)


def extracted_text(content: ServiceClient, path: str, reader_id: str) -> str | None:
    try:
        processing = content.call("GET", f"{path}/processing", on_behalf_of=reader_id)
    except NotFound:
        return None
    text: str | None = processing["text"]
    return text
