"""People and roles that a request names: identity says whether there are such."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Path, Query, Request

from chassis.auth import User
from chassis.errors import NotFound, Unprocessable

from ..models import ROLE_PREFIX, USER_PREFIX, now
from .dependencies import Reader

RoleName = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{0,49}$")]


async def find_in_identity(request: Request, path: str) -> Any:
    """None when identity says that there is none, or never can be."""
    try:
        return await request.app.state.identity.make_request("GET", f"/api/v1/{path}")
    except (NotFound, Unprocessable):
        return None


async def find_user_grantee(user_id: UUID, request: Request) -> str | None:
    """How grants name the person; None when there is no such person."""
    return (
        f"{USER_PREFIX}{user_id}"
        if await find_in_identity(request, f"users/{user_id}/profile")
        else None
    )


async def find_role_grantee(role: RoleName, request: Request) -> str | None:
    return f"{ROLE_PREFIX}{role}" if await find_in_identity(request, f"roles/{role}") else None


async def find_user(
    request: Request,
    reader: Reader,
    user: Annotated[UUID | None, Query(description="Yourself, when not given.")] = None,
) -> User | None:
    """With the rights they have now; None when there is no such person."""
    if user is None or str(user) == reader.user_id:
        return reader
    rights = await find_in_identity(request, f"users/{user}/permissions")
    if rights is None:
        return None
    roles, permissions = tuple(rights["roles"]), frozenset(rights["permissions"])
    return User(str(user), None, roles, permissions, expires_at=now())


UserGrantee = Annotated[str | None, Depends(find_user_grantee)]
RoleGrantee = Annotated[str | None, Depends(find_role_grantee)]
QueriedUser = Annotated[User | None, Depends(find_user)]
