"""Definitions: what can be run."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from chassis.idempotency import IdempotentRoute
from chassis.pagination import Page, PageRequest

from .. import definitions, graph
from ..database import DbSession
from ..definition.model import Definition
from ..schemas.definitions import DefinitionCreate, DefinitionName, DefinitionRead
from ..validation import check_definition
from .dependencies import IDEMPOTENT, DefinitionAuthor, DefinitionReader, VersionNumber

router = APIRouter(prefix="/definitions", route_class=IdempotentRoute)


@router.get("", response_model=Page[DefinitionRead])
def list_definitions(
    reader: DefinitionReader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """The current versions, newest first."""
    return definitions.list_definitions(session, page)


@router.post("", response_model=DefinitionRead, status_code=201, dependencies=IDEMPOTENT)
def create_definition(
    new: DefinitionCreate, author: DefinitionAuthor, session: DbSession
) -> dict[str, Any]:
    """Publish the first version of a definition."""
    return definitions.build_response(definitions.publish_version(session, author, new.name, new))


@router.post("/validate")
def validate_definition(new: Definition, reader: DefinitionReader) -> dict[str, bool]:
    """Whether a definition could be published; otherwise everything that is wrong with it."""
    check_definition(new)
    return {"valid": True}


@router.get("/{name}", response_model=DefinitionRead)
def read_definition(
    name: DefinitionName, reader: DefinitionReader, session: DbSession
) -> dict[str, Any]:
    """The current version of a definition."""
    return definitions.build_response(definitions.get_definition(session, name))


@router.put("/{name}", response_model=DefinitionRead)
def change_definition(
    name: DefinitionName, new: Definition, author: DefinitionAuthor, session: DbSession
) -> dict[str, Any]:
    """Publish the next version; runs that are under way stay with theirs."""
    return definitions.build_response(definitions.change_definition(session, author, name, new))


@router.delete("/{name}", status_code=204)
def delete_definition(name: DefinitionName, author: DefinitionAuthor, session: DbSession) -> None:
    """Nobody can start it any more; runs that are under way go on."""
    definitions.delete_definition(session, name)


@router.get("/{name}/versions", response_model=Page[DefinitionRead])
def list_versions(
    name: DefinitionName, reader: DefinitionReader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """Every version there ever was, newest first."""
    return definitions.list_versions(session, name, page)


@router.get("/{name}/versions/{number}", response_model=DefinitionRead)
def read_version(
    name: DefinitionName, number: VersionNumber, reader: DefinitionReader, session: DbSession
) -> dict[str, Any]:
    """One version, as it was published."""
    return definitions.build_response(definitions.get_version(session, name, number))


@router.put("/{name}/versions/{number}", status_code=409)
def change_version(
    name: DefinitionName, number: VersionNumber, author: DefinitionAuthor, session: DbSession
) -> None:
    """Refused: a published version never changes; PUT the definition to publish the next."""
    definitions.reject_version_change(session, name, number)


@router.get("/{name}/diagram", response_class=PlainTextResponse)
def draw_definition(name: DefinitionName, reader: DefinitionReader, session: DbSession) -> str:
    """The steps of the current version, as a Mermaid flowchart."""
    return graph.render_mermaid(definitions.get_parsed_definition(session, name))
