"""Bodies about what gives access: roles, API keys, and service accounts, which log in with keys."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import MISSING, Field

from chassis.schemas import RequestModel, ResponseModel, example

from .fields import Description, Future, Name, Permissions, RoleName, RoleNames


class RoleCreate(RequestModel):
    model_config = example(
        name="editor", description="Changes documents", permissions=["documents:write"]
    )

    name: RoleName
    description: Description = ""
    permissions: Permissions = Field(description="Of the form `documents:write`; `*` is every one.")
    inherits: RoleNames = Field(default=[], description="Roles whose permissions are included.")


class RoleUpdate(RequestModel):
    """Changes the fields that are given; `permissions` and `inherits` are replaced as a whole."""

    model_config = example(permissions=["documents:read", "documents:write"])

    description: Description | MISSING = MISSING
    permissions: Permissions | MISSING = MISSING
    inherits: RoleNames | MISSING = MISSING


class RoleRead(ResponseModel):
    name: str
    description: str
    permissions: list[str]
    inherits: list[str]
    effective_permissions: list[str] = Field(description="Its own and those that it inherits.")
    is_system: bool = Field(description="Whether the platform relies on it: it cannot change.")
    created_at: datetime


class ApiKeyCreate(RequestModel):
    model_config = example(name="Nightly import", scopes=["documents:write"])

    name: Name
    scopes: Annotated[Permissions, Field(min_length=1)] = Field(
        description="The permissions to which the key is limited; you must have each of them."
    )
    expires_at: Future | None = Field(default=None, description="Null is never.")


class ServiceAccountCreate(RequestModel):
    model_config = example(name="Nightly import", roles=["member"])

    name: Name
    roles: RoleNames


class ApiKeyRead(ResponseModel):
    id: UUID
    name: str
    prefix: str = Field(description="The beginning of the key, by which to recognize it.")
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class ApiKeyWithSecret(ApiKeyRead):
    """Includes the key itself, which is shown only once."""

    secret: str
