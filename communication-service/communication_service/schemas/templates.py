"""Templates, over the wire."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, field_validator

from chassis.schemas import JsonObject

from .fields import Body, Given, Locale, Name, Shown, Subject, Variables, small

VariablesSchema = Annotated[JsonObject, small(10_000)]


class Parts(Given):
    """Of a template, in one language."""

    subject: Subject
    body: Body
    html: Body | None = None


class TemplateUpdate(Parts):
    translations: dict[Locale, Parts] = Field(default={}, max_length=20)
    variables_schema: VariablesSchema | None = None

    @field_validator("translations")
    @classmethod
    def one_of_each(cls, value: dict[str, Parts]) -> dict[str, Parts]:
        if len({tag.lower() for tag in value}) < len(value):
            raise ValueError("must have each language once, whether in capitals or not")
        return value


class TemplateCreate(TemplateUpdate):
    name: Name


class TemplateRender(Given):
    variables: Variables = Field(default={})
    locale: Locale | None = None


class TemplatePreview(TemplateRender, TemplateUpdate):
    pass


class Rendered(Shown):
    subject: str
    body: str
    html: str | None = None


class RenderedIn(Rendered):
    locale: str | None = Field(description="Of the translation; null is the template's own.")


class TemplateRead(Rendered):
    translations: dict[str, Rendered]
    variables_schema: JsonObject | None
    id: UUID
    name: str
    version: int
    built_in: bool
    author_id: UUID | None
    created_at: datetime
