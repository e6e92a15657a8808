"""Templates: texts with variables, in one or more languages, to make notifications from."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query

from chassis.openapi import raises
from chassis.pagination import Page, PageRequest
from chassis.routing import APIRouter

from ..database import DbSession
from ..models import Template
from ..schemas.templates import (
    RenderedPreview,
    TemplateCreate,
    TemplatePreview,
    TemplateRead,
    TemplateRender,
    TemplateUpdate,
)
from ..templates import service
from ..templates.rendering import BadTemplate, BadVariables
from ..templates.variables_schema import BadSchema, WrongVariables
from .dependencies import Idempotent, TemplateAuthor, TemplateReader

router = APIRouter(prefix="/templates", tags=["Templates"])

RENDER_ERRORS = (BadTemplate, BadVariables, WrongVariables)

Version = Annotated[
    int | None, Query(ge=1, le=2**31 - 1, description="An earlier version; without it, the newest.")
]


@router.get("", response_model=Page[TemplateRead])
def list_templates(page: PageRequest, reader: TemplateReader, session: DbSession) -> dict[str, Any]:
    """List the current version of each template, newest template first."""
    return service.list_templates(session, page)


@router.post("", response_model=TemplateRead, status_code=201, dependencies=[Idempotent])
@raises(service.DuplicateTemplate, BadTemplate, BadSchema)
def create_template(new: TemplateCreate, author: TemplateAuthor, session: DbSession) -> Template:
    """Create a template. Only variables, conditions, loops and some filters of Jinja2 work."""
    return service.create_template(session, author, new)


@router.post("/preview", response_model=RenderedPreview)
@raises(BadSchema, *RENDER_ERRORS)
def preview_template(template: TemplatePreview, author: TemplateAuthor) -> RenderedPreview:
    """Render a template without saving it, as readers with this locale would see it."""
    return service.preview_template(template)


@router.get("/{template_id}", response_model=TemplateRead)
@raises(service.UnknownTemplate)
def get_template(
    template_id: UUID, reader: TemplateReader, session: DbSession, version: Version = None
) -> Template:
    """Get a template in its current version, or in an earlier one."""
    return service.get_template(session, template_id, version)


@router.put("/{template_id}", response_model=TemplateRead)
@raises(service.UnknownTemplate, service.OutdatedTemplate, BadTemplate, BadSchema)
def update_template(
    template_id: UUID, change: TemplateUpdate, author: TemplateAuthor, session: DbSession
) -> Template:
    """Write the next version of a template; notifications already accepted do not change."""
    return service.update_template(session, author, template_id, change)


@router.delete("/{template_id}", status_code=204)
@raises(service.UnknownTemplate, service.BuiltInTemplate)
def delete_template(template_id: UUID, author: TemplateAuthor, session: DbSession) -> None:
    """Delete a template and its versions; notifications made from it stay."""
    service.delete_template(session, template_id)


@router.post("/{template_id}/render", response_model=RenderedPreview)
@raises(service.UnknownTemplate, *RENDER_ERRORS)
def render_template(
    template_id: UUID, given: TemplateRender, reader: TemplateReader, session: DbSession
) -> RenderedPreview:
    """Render a template with variables, as readers with this locale would see it."""
    return service.render_template(session, template_id, given)
