"""Requests and responses about templates."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, field_validator

from chassis.schemas import JsonObject, RequestModel, ResponseModel, example

from .fields import Body, Locale, Subject, TemplateName, Variables, limit_json_size

VariablesSchema = Annotated[JsonObject, limit_json_size(10_000)]
TEXTS = {"subject": "Hello {{ name }}", "body": "{{ name }}, your report is ready."}


class TemplateParts(RequestModel):
    """Holds a template's texts in one language."""

    subject: Subject
    body: Body = Field(description="Plain text, shown where HTML is not possible.")
    html: Body | None = Field(default=None, description="Shown in emails in place of the body.")


class TemplateUpdate(TemplateParts):
    model_config = example(**TEXTS)

    translations: dict[Locale, TemplateParts] = Field(
        default={}, max_length=20, description="The same texts in other languages, by language tag."
    )
    variables_schema: VariablesSchema | None = Field(
        default=None, description="A JSON Schema of the variables; null allows any."
    )

    @field_validator("translations")
    @classmethod
    def check_languages(cls, value: dict[str, TemplateParts]) -> dict[str, TemplateParts]:
        if len({tag.lower() for tag in value}) < len(value):
            raise ValueError("must have each language once; upper and lower case are the same")
        return value


class TemplateCreate(TemplateUpdate):
    model_config = example(name="report-ready", **TEXTS)

    name: TemplateName = Field(description="Lower-case words, joined by hyphens; unique.")


class TemplateRender(RequestModel):
    model_config = example(variables={"name": "Ada"}, locale="de-AT")

    variables: Variables = Field(default={}, description="The values for the template.")
    locale: Locale | None = Field(
        default=None, description="The reader's language tag; the closest translation is used."
    )


class TemplatePreview(TemplateRender, TemplateUpdate):
    model_config = example(variables={"name": "Ada"}, **TEXTS)


class RenderedText(ResponseModel):
    """Holds the texts of a template or notification in one language."""

    subject: str
    body: str
    html: str | None = None


class RenderedPreview(RenderedText):
    locale: str | None = Field(description="The language used; null is the template's own.")


class TemplateRead(RenderedText):
    translations: dict[str, RenderedText] = Field(description="By language tag.")
    variables_schema: JsonObject | None
    id: UUID
    name: str
    version: int = Field(description="Counts from 1; each update writes the next one.")
    built_in: bool = Field(description="Other services use it, so that it cannot be deleted.")
    author_id: UUID | None = Field(description="Who wrote this version; null if built in.")
    created_at: datetime
