"""What can be done with templates. No HTTP in here, and no commit."""

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

from ..delivery.localization import closest
from ..models import Content, Template
from ..schemas.templates import (
    Parts,
    Rendered,
    RenderedIn,
    TemplateCreate,
    TemplatePreview,
    TemplateRender,
    TemplateUpdate,
)
from .rendering import BadTemplate, Budget, check, render
from .variables_schema import check_schema, check_variables, declared


class UnknownTemplate(NotFound):
    """There is no such template, or no such version of it."""


class DuplicateTemplate(Conflict):
    """The names of templates are unique."""


class OutdatedTemplate(Conflict):
    """Somebody else wrote the next version at the same moment."""


class BuiltInTemplate(Conflict):
    """Other services rely on it: it can get new versions, but it cannot go."""


def newest() -> Select[Template]:
    """The current version of each template."""
    version = aliased(Template)
    highest = select(func.max(version.version)).where(version.id == Template.id)
    return select(Template).where(Template.version == highest.scalar_subquery())


def list_templates(session: Session, page: PageParameters) -> dict[str, Any]:
    return paginate(session, newest(), page, Template.id)


def get_template(session: Session, template_id: UUID, version: int | None = None) -> Template:
    """The current version unless one is named."""
    if version is None:
        found = session.scalar(newest().where(Template.id == template_id))
    else:
        found = session.get(Template, (template_id, version))
    if found is None:
        raise UnknownTemplate("There is no such template, or no such version of it")
    return found


def locked(session: Session, template_id: UUID) -> Template:
    """The current version, until the commit: while one writes the next, nobody deletes the rest."""
    current = newest().where(Template.id == template_id).with_for_update(of=Template)
    found = session.scalar(current)
    if found is None:
        raise UnknownTemplate("There is no such template")
    return found


def get_template_by_name(session: Session, name: str) -> Template | None:
    return session.scalar(newest().where(Template.name == name))


def create_template(session: Session, author: User, new: TemplateCreate) -> Template:
    template = Template(author_id=author.user_id, **new.model_dump())
    check_template(template)
    return save(session, template, DuplicateTemplate(f"There is already a template {new.name}"))


def update_template(
    session: Session, author: User, template_id: UUID, change: TemplateUpdate
) -> Template:
    """Writes the next version; what was accepted from earlier ones stays as it is."""
    last = locked(session, template_id)
    template = Template(id=last.id, version=last.version + 1, **change.model_dump())
    check_template(template)
    template.name, template.built_in, template.author_id = last.name, last.built_in, author.user_id
    return save(session, template, OutdatedTemplate("Somebody changed it just now; look again"))


def save(session: Session, template: Template, otherwise: Conflict) -> Template:
    """`otherwise` is raised when its name or its version is taken."""
    session.add(template)
    try:
        session.flush()
    except IntegrityError as error:
        raise otherwise from error
    return template


def delete_template(session: Session, template_id: UUID) -> None:
    template = locked(session, template_id)
    if template.built_in:
        raise BuiltInTemplate(f"{template.name} is built in and cannot be deleted")
    session.execute(delete(Template).where(Template.id == template_id))


def check_template(template: Template) -> None:
    """Raises BadTemplate or BadSchema."""
    schema = template.variables_schema
    if schema is not None:
        check_schema(schema)
    for tag, parts in languages(template).items():
        with naming(tag):
            check(parts, None if schema is None else declared(schema))


def languages(template: Template) -> dict[str | None, Content | Parts]:
    """Its own words under None, and each translation under its tag."""
    found: dict[str | None, Content | Parts] = {None: template}
    for tag, parts in template.translations.items():
        found[tag] = Parts.model_construct(**parts)
    return found


@contextmanager
def naming(tag: str | None) -> Iterator[None]:
    """Errors inside are about this language."""
    try:
        yield
    except BadTemplate as error:
        if tag is None:
            raise
        (fault,) = error.errors
        raise BadTemplate.for_field(
            f"translations.{tag}.{fault['field']}", fault["message"]
        ) from error


def render_in(template: Template, variables: JsonObject, locale: str | None) -> RenderedIn:
    """What a reader with this locale would see, as `render_all` has it."""
    tag = closest(template.translations, locale)
    return RenderedIn(**render_all(template, variables)[tag].model_dump(), locale=tag)


def render_all(template: Template, variables: JsonObject) -> dict[str | None, Rendered]:
    """In its own language, under None, and in all others.

    Raises WrongVariables, BadVariables or BadTemplate.
    """
    check_variables(template.variables_schema, variables)
    budget, rendered = Budget(), dict[str | None, Rendered]()
    for tag, parts in languages(template).items():
        with naming(tag):
            rendered[tag] = render(parts, variables, budget)
    return rendered


def render_template(session: Session, template_id: UUID, given: TemplateRender) -> RenderedIn:
    return render_in(get_template(session, template_id), given.variables, given.locale)


def preview(given: TemplatePreview) -> RenderedIn:
    template = Template(**given.model_dump(exclude={"variables", "locale"}))
    check_template(template)
    return render_in(template, given.variables, given.locale)
