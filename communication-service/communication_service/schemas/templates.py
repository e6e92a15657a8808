"""Requests and responses about templates."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, field_validator

from chassis.schemas import JsonObject, RequestModel, ResponseModel

from .fields import Body, Locale, Subject, TemplateName, Variables, limit_json_size

VariablesSchema = Annotated[JsonObject, limit_json_size(10_000)]


class TemplateParts(RequestModel):
    """Holds a template's texts in one language."""

    subject: Subject
    body: Body
    html: Body | None = None


class TemplateUpdate(TemplateParts):
    translations: dict[Locale, TemplateParts] = Field(default={}, max_length=20)
    variables_schema: VariablesSchema | None = None

    @field_validator("translations")
    @classmethod
    def check_languages(cls, value: dict[str, TemplateParts]) -> dict[str, TemplateParts]:
        if len({tag.lower() for tag in value}) < len(value):
            raise ValueError("must have each language once; upper and lower case are the same")
        return value


class TemplateCreate(TemplateUpdate):
    name: TemplateName


class TemplateRender(RequestModel):
    variables: Variables = Field(default={})
    locale: Locale | None = None


class TemplatePreview(TemplateRender, TemplateUpdate):
    pass


class RenderedText(ResponseModel):
    subject: str
    body: str
    html: str | None = None


class RenderedPreview(RenderedText):
    locale: str | None = Field(description="The language used; null is the template's own.")


class TemplateRead(RenderedText):
    translations: dict[str, RenderedText]
    variables_schema: JsonObject | None
    id: UUID
    name: str
    version: int
    built_in: bool
    author_id: UUID | None
    created_at: datetime
