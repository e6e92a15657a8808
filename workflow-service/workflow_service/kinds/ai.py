"""ai.summarize: a few sentences on a document, or on a text."""

from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Self
from uuid import UUID

from pydantic import Field, model_validator

from chassis.errors import Conflict, NotFound
from chassis.schemas import Text
from chassis.service_client import ServiceClient

from ..ai.providers import ModelRefused, Summary
from ..engine.outcomes import Call, Done, Kind, Terminal
from ..neighbours import Neighbours


class NoTextYet(Conflict):
    """A file whose text has not been extracted."""


class Summarize(Kind):
    """Also the body of POST /ai/summarize."""

    document_id: UUID | None = None
    text: Text | None = Field(default=None, min_length=1, max_length=200_000)

    @model_validator(mode="after")
    def one_of_them(self) -> Self:
        if (self.document_id is None) == (self.text is None):
            raise ValueError("give either document_id or text")
        return self

    def perform(self, call: Call) -> Done:
        try:
            return Done(asdict(self.summary(call.neighbours, call.run.started_by)))
        except ModelRefused as error:
            raise Terminal(error.message) from error

    def summary(self, neighbours: Neighbours, reader_id: str) -> Summary:
        text = self.text or text_of(neighbours.content, self.document_id, reader_id)
        return neighbours.summarize(text)


def text_of(content: ServiceClient, document_id: UUID | None, reader_id: str) -> str:
    """A document's text, read with the reader's rights; raises NoTextYet, and content's errors."""
    path = f"/api/v1/documents/{document_id}"
    read = partial(content.call, "GET", on_behalf_of=reader_id)
    text = read(path)["body"]
    if not text:
        with suppress(NotFound):  # nobody asked for its processing
            text = read(f"{path}/processing")["text"]
    if not text:
        raise NoTextYet(f"No text of the document is known: POST {path}/process, or look there why")
    return str(text)
