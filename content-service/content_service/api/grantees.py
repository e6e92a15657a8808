"""Users and roles that a request names: identity knows whether they exist."""

from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import Depends, Path, Query, Request

from chassis.auth import User
from chassis.clock import now
from chassis.contracts import NeighbourCall
from chassis.errors import BadGateway, NotFound, Unprocessable
from chassis.openapi import raises

from ..contracts import READ_PROFILE, READ_RIGHTS, READ_ROLE
from ..models import ROLE_PREFIX, USER_PREFIX
from .dependencies import Reader

Answer = TypeVar("Answer")
RoleName = Annotated[
    str, Path(pattern=r"^[a-z][a-z0-9-]{0,49}$", description="A role of identity-service.")
]


async def find_in_identity(
    request: Request, call: NeighbourCall[None, Answer], **path: object
) -> Answer | None:
    """Return identity's answer; None when it does not exist, or the name cannot exist."""
    try:
        return await call.make(request.app.state.identity, path=path)
    except (NotFound, Unprocessable):
        return None


@raises(BadGateway)
async def find_user_grantee(user_id: UUID, request: Request) -> str | None:
    """Return the grantee that stands for the user; None when there is no such user."""
    profile = await find_in_identity(request, READ_PROFILE, user_id=user_id)
    return f"{USER_PREFIX}{user_id}" if profile else None


@raises(BadGateway)
async def find_role_grantee(role: RoleName, request: Request) -> str | None:
    """Return the grantee that stands for the role; None when there is no such role."""
    found = await find_in_identity(request, READ_ROLE, name=role)
    return f"{ROLE_PREFIX}{role}" if found else None


@raises(BadGateway)
async def find_user(
    request: Request,
    reader: Reader,
    user: Annotated[UUID | None, Query(description="A user's id; without it, the caller.")] = None,
) -> User | None:
    """Return the user with their current roles and permissions; None when there is none."""
    if user is None or str(user) == reader.user_id:
        return reader
    rights = await find_in_identity(request, READ_RIGHTS, user_id=user)
    if rights is None:
        return None
    roles = tuple(rights["roles"])
    return User(str(user), None, roles, frozenset(rights["permissions"]), expires_at=now())


UserGrantee = Annotated[str | None, Depends(find_user_grantee)]
RoleGrantee = Annotated[str | None, Depends(find_role_grantee)]
QueriedUser = Annotated[User | None, Depends(find_user)]
