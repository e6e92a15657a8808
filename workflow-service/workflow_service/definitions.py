"""What users can do with definitions: publish, read and retire versions, which never change."""

from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.errors import Conflict, NotFound, Unprocessable
from chassis.pagination import Page, PageParameters, paginate

from .definition.model import Definition
from .models import DefinitionVersion
from .schemas import DefinitionRead, DefinitionUpdate
from .validation import check_definition


class UnknownDefinition(NotFound):
    """Raised when no definition has this name, or it has been deleted."""


class NameTaken(Conflict):
    """Raised when a definition of this name exists, also when it was published just now."""


class VersionIsFinal(Conflict):
    """Raised when a caller tries to change a published version."""


def select_current() -> Select[DefinitionVersion]:
    return select(DefinitionVersion).where(DefinitionVersion.retired_at.is_(None))


def list_definitions(session: Session, page: PageParameters) -> Page[DefinitionRead]:
    return build_page(paginate(session, select_current(), page, DefinitionVersion.id))


def get_definition(session: Session, name: str) -> DefinitionVersion:
    """Return the current version. Raises UnknownDefinition."""
    version = session.scalar(select_current().filter_by(name=name))
    if version is None:
        raise UnknownDefinition(f"There is no definition {name!r}")
    return version


def list_versions(session: Session, name: str, page: PageParameters) -> Page[DefinitionRead]:
    """List all versions, also those of a deleted definition. Raises UnknownDefinition."""
    versions = select(DefinitionVersion).filter_by(name=name)
    found = paginate(session, versions, page, DefinitionVersion.version)
    if not found["items"] and not page.cursor:
        raise UnknownDefinition(f"There is no definition {name!r}")
    return build_page(found)


def get_version(session: Session, name: str, number: int) -> DefinitionVersion:
    version = session.scalar(select(DefinitionVersion).filter_by(name=name, version=number))
    if version is None:
        raise UnknownDefinition(f"There is no version {number} of {name!r}")
    return version


def reject_version_change(session: Session, name: str, number: int) -> None:
    get_version(session, name, number)
    raise VersionIsFinal(
        f"Version {number} is published and never changes."
        f" Publish the next version with PUT /api/v1/definitions/{name}"
    )


def change_definition(
    session: Session, user: User, name: str, new: DefinitionUpdate
) -> DefinitionVersion:
    """Publish the next version, unless nothing changed. Existing runs keep their version."""
    current = get_definition(session, name)
    if new.name not in (None, name):
        raise Unprocessable.for_field("name", f"must be {name}, as in the path, or left out")
    if is_same(current.content, serialize_definition(new)):
        return current
    current.retired_at = func.now()
    return publish_version(session, user, name, new)


def delete_definition(session: Session, name: str) -> None:
    """Retire the current version: no new runs can start, and existing runs continue."""
    get_definition(session, name).retired_at = func.now()


def publish_version(session: Session, user: User, name: str, new: Definition) -> DefinitionVersion:
    """Store the version after the newest one. Raises NameTaken when a current version exists."""
    check_definition(new)
    newest = select(func.max(DefinitionVersion.version)).where(DefinitionVersion.name == name)
    version = DefinitionVersion(name=name, created_by=user.user_id)
    version.version = (session.scalar(newest) or 0) + 1
    version.content = serialize_definition(new)
    session.add(version)
    try:
        session.flush()
    except IntegrityError as error:
        raise NameTaken(
            f"There is already a definition {name!r}."
            f" Publish its next version with PUT /api/v1/definitions/{name}"
        ) from error
    return version


def serialize_definition(definition: Definition) -> dict[str, Any]:
    """Return the definition as its author wrote it, without the defaults and what we set."""
    fields = {*Definition.model_fields}
    return definition.model_dump(mode="json", by_alias=True, exclude_unset=True, include=fields)


def is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Compare two definitions; a default that is written out makes no difference."""
    return Definition.model_validate(one) == Definition.model_validate(other)


def build_response(version: DefinitionVersion) -> DefinitionRead:
    about = {key: getattr(version, key) for key in ("name", "version", "created_by", "created_at")}
    return DefinitionRead.model_validate({**version.content, **about})


def build_page(found: dict[str, Any]) -> Page[DefinitionRead]:
    items = [build_response(version) for version in found["items"]]
    return Page(items=items, next_cursor=found["next_cursor"])
