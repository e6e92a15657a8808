"""What can be done with definitions. A published version never changes; a change is a new one."""

from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.errors import Conflict, NotFound
from chassis.pagination import PageParameters, paginate

from .definition.model import Definition
from .engine.transaction import parse_definition
from .models import DefinitionVersion
from .validation import check_definition


class UnknownDefinition(NotFound):
    """No definition of this name, or none any more."""


class NameTaken(Conflict):
    """There is a current version already, perhaps since a moment ago."""


class VersionIsFinal(Conflict):
    """A published version never changes."""


def select_current() -> Select[DefinitionVersion]:
    return select(DefinitionVersion).where(DefinitionVersion.retired_at.is_(None))


def list_definitions(session: Session, page: PageParameters) -> dict[str, Any]:
    found = paginate(session, select_current(), page, DefinitionVersion.id)
    return {**found, "items": [build_response(item) for item in found["items"]]}


def get_definition(session: Session, name: str) -> DefinitionVersion:
    found = session.scalar(select_current().filter_by(name=name))
    if found is None:
        raise UnknownDefinition(f"There is no definition {name!r}")
    return found


def get_parsed_definition(session: Session, name: str) -> Definition:
    return parse_definition(get_definition(session, name))


def list_versions(session: Session, name: str, page: PageParameters) -> dict[str, Any]:
    versions = select(DefinitionVersion).filter_by(name=name)
    found = paginate(session, versions, page, DefinitionVersion.version)
    if not found["items"] and not page.cursor:
        raise UnknownDefinition(f"There is no definition {name!r}")
    return {**found, "items": [build_response(item) for item in found["items"]]}


def get_version(session: Session, name: str, number: int) -> DefinitionVersion:
    found = session.scalar(select(DefinitionVersion).filter_by(name=name, version=number))
    if found is None:
        raise UnknownDefinition(f"There is no version {number} of {name!r}")
    return found


def reject_version_change(session: Session, name: str, number: int) -> None:
    get_version(session, name, number)
    raise VersionIsFinal(
        f"Version {number} is published and stays as it is: PUT the definition itself"
    )


def change_definition(
    session: Session, author: User, name: str, new: Definition
) -> DefinitionVersion:
    """The next version, unless nothing changed. Runs go on with the version they started with."""
    found = get_definition(session, name)
    if found.content == serialize_definition(new):
        return found
    found.retired_at = func.now()
    return publish_version(session, author, name, new)


def delete_definition(session: Session, name: str) -> None:
    """No new runs; those that there are go on."""
    get_definition(session, name).retired_at = func.now()


def publish_version(
    session: Session, author: User, name: str, new: Definition
) -> DefinitionVersion:
    """The version after the newest, of a name that has no current one."""
    check_definition(new)
    newest = select(func.max(DefinitionVersion.version)).where(DefinitionVersion.name == name)
    version = (session.scalar(newest) or 0) + 1
    published = DefinitionVersion(
        name=name, version=version, content=serialize_definition(new), created_by=author.user_id
    )
    session.add(published)
    try:
        session.flush()
    except IntegrityError as error:
        message = f"There is a definition {name!r} by now: look at it, PUT makes its next version"
        raise NameTaken(message) from error
    return published


def serialize_definition(definition: Definition) -> dict[str, Any]:
    """As its author wrote it."""
    return definition.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"name"})


def build_response(published: DefinitionVersion) -> dict[str, Any]:
    """As the API shows it."""
    about = ("name", "version", "created_by", "created_at")
    return {**published.content, **{field: getattr(published, field) for field in about}}
