"""Bodies about what gives access: roles, API keys, and service accounts, which log in with keys."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import MISSING, Field

from chassis.schemas import RequestModel, ResponseModel

from .fields import Description, Future, Name, Permissions, RoleName, RoleNames


class RoleCreate(RequestModel):
    name: RoleName
    description: Description = ""
    permissions: Permissions
    inherits: RoleNames = Field(default=[])


class RoleUpdate(RequestModel):
    description: Description | MISSING = MISSING
    permissions: Permissions | MISSING = MISSING
    inherits: RoleNames | MISSING = MISSING


class RoleRead(ResponseModel):
    name: str
    description: str
    permissions: list[str]
    inherits: list[str]
    effective_permissions: list[str]
    is_system: bool
    created_at: datetime


class ApiKeyCreate(RequestModel):
    name: Name
    scopes: Annotated[Permissions, Field(min_length=1)]
    expires_at: Future | None = None


class ServiceAccountCreate(RequestModel):
    name: Name
    roles: RoleNames


class ApiKeyRead(ResponseModel):
    id: UUID
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class ApiKeyWithSecret(ApiKeyRead):
    """Includes the key itself, which is shown only once."""

    secret: str
