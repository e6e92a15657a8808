"""Templates: reading them, writing new versions, trying them out."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from chassis.auth import User, require_permission
from chassis.idempotency import IdempotentRoute, idempotent
from chassis.pagination import Page, PageRequest

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
from ..templates import service as templates

router = APIRouter(prefix="/templates", route_class=IdempotentRoute)

Reader = Annotated[User, require_permission("templates:read")]
Author = Annotated[User, require_permission("templates:write")]
Idempotent = idempotent(DbSession)
Version = Annotated[int | None, Query(ge=1, le=2**31 - 1)]


@router.get("", response_model=Page[TemplateRead])
def list_templates(page: PageRequest, reader: Reader, session: DbSession) -> dict[str, Any]:
    """The current version of each template, newest template first."""
    return templates.list_templates(session, page)


@router.post("", response_model=TemplateRead, status_code=201, dependencies=[Idempotent])
def create_template(new: TemplateCreate, author: Author, session: DbSession) -> Template:
    """Save a template under a name of its own."""
    return templates.create_template(session, author, new)


@router.post("/preview", response_model=RenderedPreview)
def preview_template(template: TemplatePreview, author: Author) -> RenderedPreview:
    """Render a template that is not saved, as readers of a locale would get it."""
    return templates.preview_template(template)


@router.get("/{template_id}", response_model=TemplateRead)
def get_template(
    template_id: UUID, reader: Reader, session: DbSession, version: Version = None
) -> Template:
    """A template, in its current version or in an earlier one."""
    return templates.get_template(session, template_id, version)


@router.put("/{template_id}", response_model=TemplateRead)
def update_template(
    template_id: UUID, change: TemplateUpdate, author: Author, session: DbSession
) -> Template:
    """Write the next version of a template."""
    return templates.update_template(session, author, template_id, change)


@router.delete("/{template_id}", status_code=204)
def delete_template(template_id: UUID, author: Author, session: DbSession) -> None:
    """Delete a template and its versions; notifications made from it stay."""
    templates.delete_template(session, template_id)


@router.post("/{template_id}/render", response_model=RenderedPreview)
def render_template(
    template_id: UUID, given: TemplateRender, reader: Reader, session: DbSession
) -> RenderedPreview:
    """What a notification from this template would say, to readers of a locale."""
    return templates.render_template(session, template_id, given)
