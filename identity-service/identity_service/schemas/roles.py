"""Bodies about roles."""

from datetime import datetime

from pydantic import MISSING, Field

from chassis.schemas import RequestModel, ResponseModel

from .fields import Description, Permissions, RoleName, RoleNames


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
