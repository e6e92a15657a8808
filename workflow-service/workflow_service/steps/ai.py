"""ai.summarize, ai.classify and ai.extract: questions to a model about a document or a text."""

from abc import abstractmethod
from contextlib import suppress
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field, ValidationError, field_validator

from chassis.errors import Conflict, NotFound
from chassis.schemas import Text, example
from chassis.service_client import ServiceClient

from ..ai import prompts
from ..ai.prompts import Prompt
from ..ai.providers import ModelRefused
from ..contracts import READ_BODY, READ_TEXT
from ..definition.expressions import ExpressionError, evaluate_all
from ..definition.model import InputSchema, StepDefinition
from ..definition.value_schemas import OPEN, Schema
from ..neighbours import Neighbours
from .protocol import (
    Done,
    NonRetryableError,
    OutputContext,
    StepAttempt,
    StepInput,
    StepOutput,
    StepType,
    register,
)

Label = Annotated[Text, Field(min_length=1, max_length=100)]


class AiOutput(StepOutput):
    provider: str
    model: str


class SummaryOutput(AiOutput):
    summary: str


class ClassificationOutput(AiOutput):
    label: str
    confidence: float


class NoTextYet(Conflict):
    """Raised for a file whose text has not been extracted: process it first."""


class UnknownDocument(NotFound):
    """Raised when the document does not exist, or the caller may not read it."""


class TextSource(StepInput):
    """Names a document or holds a text to ask a model about; also the body of POST /ai/..."""

    exactly_one_of: ClassVar[tuple[str, ...]] = ("document_id", "text")

    model_config = example(text="The meeting is moved to 9 December. Please confirm by Friday.")

    document_id: UUID | None = Field(default=None, description="The id of a document in content.")
    text: Text | None = Field(
        default=None, min_length=1, max_length=200_000, description="In place of a document."
    )

    @field_validator("text")
    @classmethod
    def check_not_blank(cls, text: str | None) -> str | None:
        if text is not None and not text.strip():
            raise ValueError("must not be blank")
        return text

    def read_text(self, neighbours: Neighbours, reader_id: str) -> str:
        """Return the text. Raises NoTextYet, and the errors of content."""
        return self.text or read_document_text(neighbours.content, self.document_id, reader_id)


class AiStep(TextSource, StepType):
    """Base of the step types that ask a model; the output names its provider and model, too."""

    uses_models: ClassVar[bool] = True
    required_permission: ClassVar[str] = "ai:use"

    @abstractmethod
    def build_prompt(self, text: str) -> Prompt:
        """Return what to ask about the text."""

    def perform(self, attempt: StepAttempt) -> Done:
        text = self.read_text(attempt.neighbours, attempt.run.started_by)
        try:
            answer = attempt.neighbours.models.complete(self.build_prompt(text), attempt.usage)
        except ModelRefused as error:
            raise NonRetryableError(error.message) from error
        return Done({**answer.value, "provider": answer.provider, "model": answer.model})


@register("ai.summarize")
class Summarize(AiStep):
    """Summarizes a text: {"kind": "ai.summarize", "with": {"document_id": "input.document_id"}}"""

    output_model: ClassVar[type[StepOutput]] = SummaryOutput

    def build_prompt(self, text: str) -> Prompt:
        return prompts.build_summary_prompt(text)


@register("ai.classify")
class Classify(AiStep):
    """Chooses one of the labels.

    Example: {"kind": "ai.classify", "with": {"text": "input.text", "labels": "['a', 'b']"}}
    """

    output_model: ClassVar[type[StepOutput]] = ClassificationOutput

    labels: list[Label] = Field(min_length=2, max_length=50)

    def build_prompt(self, text: str) -> Prompt:
        return prompts.build_classification_prompt(text, self.labels)


@register("ai.extract")
class Extract(AiStep):
    """Extracts fields; `into` is a JSON schema of an object, as a definition's input is.

    Example: {"kind": "ai.extract", "with": {"text": "input.text",
    "into": "{'type': 'object', 'properties': {'amount': {'type': 'number'}}}"}}
    """

    into: InputSchema

    @classmethod
    def describe_output(cls, step: StepDefinition, context: OutputContext) -> Schema:
        """Return the fields of `into`, where no run is needed to know them."""
        try:
            into = InputSchema.model_validate(evaluate_all(step.inputs.get("into"), {}, "into"))
        except (ExpressionError, ValidationError):
            return OPEN
        properties = AiOutput.get_schema()["properties"]
        fields = into.to_json_schema()
        return {**fields, "properties": {**fields.get("properties", {}), **properties}}

    @field_validator("into")
    @classmethod
    def check_object_with_fields(cls, schema: InputSchema) -> InputSchema:
        if schema.type != "object" or not schema.properties:
            raise ValueError("must be of type object, and have properties")
        return schema

    def build_prompt(self, text: str) -> Prompt:
        return prompts.build_extraction_prompt(text, self.into.to_json_schema())


def read_document_text(content: ServiceClient, document_id: UUID | None, reader_id: str) -> str:
    """Return a document's text, with the reader's rights. Raises UnknownDocument or NoTextYet."""
    path = {"document_id": document_id}
    try:
        text = READ_BODY.make_from_thread(content, path=path, on_behalf_of=reader_id)["body"]
    except NotFound as error:
        raise UnknownDocument(error.message, target=error.target) from error
    if not text:
        with suppress(NotFound):  # its processing was not requested
            text = READ_TEXT.make_from_thread(content, path=path, on_behalf_of=reader_id)["text"]
    if not text:
        start = f"POST /api/v1/documents/{document_id}/process"
        raise NoTextYet(f"No text of the document is known: {start}, or look there why")
    return text
