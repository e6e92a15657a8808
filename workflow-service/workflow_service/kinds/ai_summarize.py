"""ai.summarize: a few sentences on a document, or on a text."""

from dataclasses import asdict
from typing import Self
from uuid import UUID

from pydantic import Field, model_validator

from chassis.schemas import Text

from ..ai import ModelRefused, Summary
from ..documents import text_of
from ..engine.outcomes import Call, Done, Input, Terminal
from ..neighbours import Neighbours


class SummarizeInput(Input):
    """Also the body of POST /ai/summarize."""

    document_id: UUID | None = None
    text: Text | None = Field(default=None, min_length=1, max_length=200_000)

    @model_validator(mode="after")
    def one_of_them(self) -> Self:
        if (self.document_id is None) == (self.text is None):
            raise ValueError("give either document_id or text")
        return self


def summary_of(neighbours: Neighbours, given: SummarizeInput, reader_id: str) -> Summary:
    text = given.text
    if given.document_id is not None:
        text = text_of(neighbours.content, given.document_id, reader_id)
    return neighbours.summarize(text or "")


def summarize(call: Call, given: SummarizeInput) -> Done:
    try:
        return Done(asdict(summary_of(call.neighbours, given, call.run.started_by)))
    except ModelRefused as error:
        raise Terminal(error.message) from error
