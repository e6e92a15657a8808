"""What can be done with templates: create, version, delete and render them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from sqlalchemy import Select, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from chassis.auth import User
from chassis.errors import Conflict, NotFound
from chassis.pagination import PageParameters, paginate
from chassis.schemas import JsonObject

from ..models import Content, Template
from ..schemas.templates import (
    RenderedPreview,
    RenderedText,
    TemplateCreate,
    TemplateParts,
    TemplatePreview,
    TemplateRender,
    TemplateUpdate,
)
from .rendering import BadTemplate, RenderBudget, check_parts, render_parts
from .translations import find_closest_language
from .variables_schema import check_schema, check_variables, get_declared_names


class UnknownTemplate(NotFound):
    """Raised when the template, or this version of it, does not exist."""


class DuplicateTemplate(Conflict):
    """Raised when another template has this name."""


class OutdatedTemplate(Conflict):
    """Raised when someone else wrote the next version at the same time."""


class BuiltInTemplate(Conflict):
    """Raised when a built-in template is deleted: other services use it."""


def select_current() -> Select[Template]:
    """Selects the current version of each template."""
    version = aliased(Template)
    highest = select(func.max(version.version)).where(version.id == Template.id)
    return select(Template).where(Template.version == highest.scalar_subquery())


def list_templates(session: Session, page: PageParameters) -> dict[str, Any]:
    return paginate(session, select_current(), page, Template.id)


def get_template(session: Session, template_id: UUID, version: int | None = None) -> Template:
    """Returns the current version, unless a version is given."""
    if version is None:
        found = session.scalar(select_current().where(Template.id == template_id))
    else:
        found = session.get(Template, (template_id, version))
    if found is None:
        raise UnknownTemplate("There is no such template, or no such version of it")
    return found


def lock_current(session: Session, template_id: UUID) -> Template:
    """Locks the current version until the commit, so that no one deletes the template meanwhile."""
    current = select_current().where(Template.id == template_id).with_for_update(of=Template)
    found = session.scalar(current)
    if found is None:
        raise UnknownTemplate("There is no such template")
    return found


def get_template_by_name(session: Session, name: str) -> Template | None:
    return session.scalar(select_current().where(Template.name == name))


def create_template(session: Session, author: User, new: TemplateCreate) -> Template:
    template = Template(author_id=author.user_id, **new.model_dump())
    check_template(template)
    duplicate = DuplicateTemplate(f"There is already a template {new.name}")
    return save_version(session, template, duplicate)


def update_template(
    session: Session, author: User, template_id: UUID, change: TemplateUpdate
) -> Template:
    """Writes the next version; notifications made from earlier ones do not change."""
    last = lock_current(session, template_id)
    template = Template(id=last.id, version=last.version + 1, **change.model_dump())
    check_template(template)
    template.name = last.name
    template.built_in = last.built_in
    template.author_id = author.user_id
    outdated = OutdatedTemplate("Someone else changed this template just now; load it again")
    return save_version(session, template, outdated)


def save_version(session: Session, template: Template, otherwise: Conflict) -> Template:
    """Raises `otherwise` when the name or the version is taken."""
    session.add(template)
    try:
        session.flush()
    except IntegrityError as error:
        raise otherwise from error
    return template


def delete_template(session: Session, template_id: UUID) -> None:
    template = lock_current(session, template_id)
    if template.built_in:
        raise BuiltInTemplate(f"{template.name} is built in and cannot be deleted")
    session.execute(delete(Template).where(Template.id == template_id))


def check_template(template: Template) -> None:
    """Raises BadTemplate or BadSchema."""
    schema = template.variables_schema
    if schema is not None:
        check_schema(schema)
    for tag, parts in get_parts_by_language(template).items():
        with name_language_in_errors(tag):
            check_parts(parts, None if schema is None else get_declared_names(schema))


def get_parts_by_language(template: Template) -> dict[str | None, Content | TemplateParts]:
    """Returns the template's own texts under None, and each translation under its tag."""
    found: dict[str | None, Content | TemplateParts] = {None: template}
    for tag, parts in template.translations.items():
        found[tag] = TemplateParts.model_construct(**parts)
    return found


@contextmanager
def name_language_in_errors(tag: str | None) -> Iterator[None]:
    """Adds the language to the field names of errors raised inside."""
    try:
        yield
    except BadTemplate as error:
        if tag is None:
            raise
        (fault,) = error.errors
        field = f"translations.{tag}.{fault['field']}"
        raise BadTemplate.for_field(field, fault["message"]) from error


def build_preview(template: Template, variables: JsonObject, locale: str | None) -> RenderedPreview:
    """Returns what a reader with this locale would see."""
    tag = find_closest_language(template.translations, locale)
    return RenderedPreview(**render_languages(template, variables)[tag].model_dump(), locale=tag)


def render_languages(template: Template, variables: JsonObject) -> dict[str | None, RenderedText]:
    """Renders every language; the template's own is under None."""
    check_variables(template.variables_schema, variables)
    budget = RenderBudget()
    rendered: dict[str | None, RenderedText] = {}
    for tag, parts in get_parts_by_language(template).items():
        with name_language_in_errors(tag):
            rendered[tag] = render_parts(parts, variables, budget)
    return rendered


def render_template(session: Session, template_id: UUID, given: TemplateRender) -> RenderedPreview:
    return build_preview(get_template(session, template_id), given.variables, given.locale)


def preview_template(given: TemplatePreview) -> RenderedPreview:
    template = Template(**given.model_dump(exclude={"variables", "locale"}))
    check_template(template)
    return build_preview(template, given.variables, given.locale)
