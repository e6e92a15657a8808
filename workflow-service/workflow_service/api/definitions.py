"""Definitions: what the steps of a workflow are, in versions that never change."""

from fastapi.responses import PlainTextResponse

from chassis.openapi import raises
from chassis.pagination import Page, PageRequest
from chassis.routing import APIRouter

from .. import definitions, graph
from ..database import DbSession
from ..engine.transaction import parse_definition
from ..schemas import (
    DefinitionCreate,
    DefinitionName,
    DefinitionRead,
    DefinitionUpdate,
    DefinitionValidity,
)
from ..validation import InvalidDefinition, check_definition
from .dependencies import IDEMPOTENT, DefinitionAuthor, DefinitionReader, VersionNumber

router = APIRouter(prefix="/definitions", tags=["Definitions"])


@router.get("")
def list_definitions(
    reader: DefinitionReader, session: DbSession, page: PageRequest
) -> Page[DefinitionRead]:
    """List the current version of each definition, newest first."""
    return definitions.list_definitions(session, page)


@router.post("", status_code=201, dependencies=IDEMPOTENT)
@raises(definitions.NameTaken, InvalidDefinition)
def create_definition(
    new: DefinitionCreate, author: DefinitionAuthor, session: DbSession
) -> DefinitionRead:
    """Publish the first version of a definition. From now on, runs of it can be started."""
    return definitions.build_response(definitions.publish_version(session, author, new.name, new))


@router.post("/validate")
@raises(InvalidDefinition)
def validate_definition(new: DefinitionUpdate, reader: DefinitionReader) -> DefinitionValidity:
    """Check a definition without publishing it. A 422 lists everything that is wrong with it."""
    check_definition(new)
    return DefinitionValidity()


@router.get("/{name}")
@raises(definitions.UnknownDefinition)
def read_definition(
    name: DefinitionName, reader: DefinitionReader, session: DbSession
) -> DefinitionRead:
    """Read the current version of a definition."""
    return definitions.build_response(definitions.get_definition(session, name))


@router.put("/{name}")
@raises(definitions.UnknownDefinition, definitions.NameTaken, InvalidDefinition)
def change_definition(
    name: DefinitionName, new: DefinitionUpdate, author: DefinitionAuthor, session: DbSession
) -> DefinitionRead:
    """Publish the next version, unless it says the same. Existing runs keep their version."""
    return definitions.build_response(definitions.change_definition(session, author, name, new))


@router.delete("/{name}", status_code=204)
@raises(definitions.UnknownDefinition)
def delete_definition(name: DefinitionName, author: DefinitionAuthor, session: DbSession) -> None:
    """Retire a definition: no new runs can start, and existing runs continue."""
    definitions.delete_definition(session, name)


@router.get("/{name}/versions")
@raises(definitions.UnknownDefinition)
def list_definition_versions(
    name: DefinitionName, reader: DefinitionReader, session: DbSession, page: PageRequest
) -> Page[DefinitionRead]:
    """List all versions of a definition, newest first."""
    return definitions.list_versions(session, name, page)


@router.get("/{name}/versions/{number}")
@raises(definitions.UnknownDefinition)
def read_definition_version(
    name: DefinitionName, number: VersionNumber, reader: DefinitionReader, session: DbSession
) -> DefinitionRead:
    """Read one version, as it was published."""
    return definitions.build_response(definitions.get_version(session, name, number))


# Not in the document: it never succeeds, and only says to PUT the definition.
@router.put("/{name}/versions/{number}", status_code=409, include_in_schema=False)
def change_version(
    name: DefinitionName, number: VersionNumber, author: DefinitionAuthor, session: DbSession
) -> None:
    """Always answers 409: a published version never changes. PUT the definition instead."""
    definitions.reject_version_change(session, name, number)


@router.get("/{name}/diagram", response_class=PlainTextResponse)
@raises(definitions.UnknownDefinition)
def draw_definition(name: DefinitionName, reader: DefinitionReader, session: DbSession) -> str:
    """Draw the steps of the current version as a Mermaid flowchart."""
    return graph.render_mermaid(parse_definition(definitions.get_definition(session, name)))
