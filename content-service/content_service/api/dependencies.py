"""The parameter types of endpoints: who calls, with which headers, and what the work needs."""

from typing import Annotated

from fastapi import Depends, Header, Request

from chassis.auth import User, require_permission
from chassis.errors import PreconditionRequired
from chassis.idempotency import idempotent
from chassis.openapi import raises

from ..access import ALL_DOCUMENTS_PERMISSION
from ..database import DbSession
from ..documents.versions import StaleVersion
from ..files.storage import FileStorage
from ..settings import Settings

Reader = Annotated[User, require_permission("documents:read")]
Author = Annotated[User, require_permission("documents:write")]
Administrator = Annotated[User, require_permission(ALL_DOCUMENTS_PERMISSION)]

Idempotent = idempotent(DbSession)


@raises(StaleVersion, PreconditionRequired)
async def require_if_match(
    if_match: Annotated[
        str | None, Header(max_length=200, description="The ETag of the version to change.")
    ] = None,
) -> str:
    if if_match is None:
        raise PreconditionRequired("If-Match: send the ETag of the version you are changing")
    return if_match


async def get_settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


CurrentSettings = Annotated[Settings, Depends(get_settings)]


async def get_storage(settings: CurrentSettings) -> FileStorage:
    return FileStorage(settings.storage_url)


IfMatch = Annotated[str, Depends(require_if_match)]
Storage = Annotated[FileStorage, Depends(get_storage)]
