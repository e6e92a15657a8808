"""What can be done with templates. No HTTP in here, and no commit."""

from typing import Any
from uuid import UUID

from sqlalchemy import Select, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from chassis.auth import User
from chassis.errors import Conflict, NotFound
from chassis.pagination import PageParameters, paginate

from .models import Template
from .schemas import Rendered, TemplateCreate, TemplateRender, TemplateUpdate
from .templating import check, render


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


def get_template_by_name(session: Session, name: str) -> Template | None:
    return session.scalar(newest().where(Template.name == name))


def create_template(session: Session, author: User, new: TemplateCreate) -> Template:
    check(new)
    template = Template(author_id=author.user_id, **new.model_dump())
    return save(session, template, DuplicateTemplate(f"There is already a template {new.name}"))


def update_template(
    session: Session, author: User, template_id: UUID, change: TemplateUpdate
) -> Template:
    """Writes the next version; what was accepted from earlier ones stays as it is."""
    check(change)
    last = get_template(session, template_id)
    template = Template(id=last.id, version=last.version + 1, **change.model_dump())
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
    template = get_template(session, template_id)
    if template.built_in:
        raise BuiltInTemplate(f"{template.name} is built in and cannot be deleted")
    session.execute(delete(Template).where(Template.id == template_id))


def render_template(session: Session, template_id: UUID, given: TemplateRender) -> Rendered:
    return render(get_template(session, template_id), given.variables)
