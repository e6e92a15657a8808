"""What endpoints ask for in their signatures: who calls, and with which headers."""

from typing import Annotated

from fastapi import Depends, Header

from chassis.auth import User, require_permission
from chassis.errors import PreconditionRequired
from chassis.idempotency import idempotent

from ..database import DbSession

Reader = Annotated[User, require_permission("documents:read")]
Author = Annotated[User, require_permission("documents:write")]

Idempotent = idempotent(DbSession)


async def require_if_match(if_match: Annotated[str | None, Header(max_length=200)] = None) -> str:
    if if_match is None:
        raise PreconditionRequired("If-Match: send the ETag of the version you are changing")
    return if_match


IfMatch = Annotated[str, Depends(require_if_match)]
