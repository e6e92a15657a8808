"""ai.summarize, ai.classify and ai.extract: what a model makes of a document, or of a text."""

from abc import abstractmethod
from contextlib import suppress
from functools import partial
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field, field_validator

from chassis.errors import Conflict, NotFound
from chassis.schemas import Text
from chassis.service_client import ServiceClient

from ..ai import prompts
from ..ai.errors import ModelRefused
from ..ai.prompts import Prompt
from ..definition.model import InputSchema
from ..neighbours import Neighbours
from .protocol import Call, Done, Given, Kind, Terminal

Label = Annotated[Text, Field(min_length=1, max_length=100)]


class NoTextYet(Conflict):
    """A file whose text has not been extracted."""


class Material(Given):
    """What a model is asked about; also the body of POST /ai/...: one of the two."""

    either: ClassVar[tuple[str, ...]] = ("document_id", "text")

    document_id: UUID | None = None
    text: Text | None = Field(default=None, min_length=1, max_length=200_000)

    @field_validator("text")
    @classmethod
    def not_blank(cls, text: str | None) -> str | None:
        if text is not None and not text.strip():
            raise ValueError("must not be blank")
        return text

    def read(self, neighbours: Neighbours, reader_id: str) -> str:
        """The text, read with the reader's rights; raises NoTextYet, and content's errors."""
        return self.text or text_of(neighbours.content, self.document_id, reader_id)


class AiKind(Material, Kind):
    """Its output is the answer, with the provider and the model that gave it."""

    uses_models: ClassVar[bool] = True
    needs: ClassVar[str] = "ai:use"

    @abstractmethod
    def question(self, text: str) -> Prompt:
        """What to ask about the text."""

    def perform(self, call: Call) -> Done:
        text = self.read(call.neighbours, call.run.started_by)
        try:
            answer = call.neighbours.models.complete(self.question(text), call.usage)
        except ModelRefused as error:
            raise Terminal(error.message) from error
        return Done({**answer.value, "provider": answer.provider, "model": answer.model})


class Summarize(AiKind):
    """Example: {"kind": "ai.summarize", "with": {"document_id": "input.document_id"}}"""

    def question(self, text: str) -> Prompt:
        return prompts.build_summary_prompt(text)


class Classify(AiKind):
    """Example: {"kind": "ai.classify", "with": {"text": "input.text", "labels": "['a', 'b']"}}"""

    labels: list[Label] = Field(min_length=2, max_length=50)

    def question(self, text: str) -> Prompt:
        return prompts.build_classification_prompt(text, self.labels)


class Extract(AiKind):
    """`into` is a JSON schema of an object, as a definition's input is.

    Example: {"kind": "ai.extract", "with": {"text": "input.text",
    "into": "{'type': 'object', 'properties': {'amount': {'type': 'number'}}}"}}
    """

    into: InputSchema

    @field_validator("into")
    @classmethod
    def object_with_fields(cls, schema: InputSchema) -> InputSchema:
        if schema.type != "object" or not schema.properties:
            raise ValueError("must be of type object, and have properties")
        return schema

    def question(self, text: str) -> Prompt:
        return prompts.build_extraction_prompt(text, self.into.plain())


def text_of(content: ServiceClient, document_id: UUID | None, reader_id: str) -> str:
    """A document's text, read with the reader's rights; raises NoTextYet, and content's errors."""
    path = f"/api/v1/documents/{document_id}"
    read = partial(content.call_from_thread, "GET", on_behalf_of=reader_id)
    text = read(path)["body"]
    if not text:
        with suppress(NotFound):  # nobody asked for its processing
            text = read(f"{path}/processing")["text"]
    if not text:
        raise NoTextYet(f"No text of the document is known: POST {path}/process, or look there why")
    return str(text)
