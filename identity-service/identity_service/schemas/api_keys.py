"""Bodies about API keys and the service accounts that own them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from chassis.schemas import RequestModel, ResponseModel

from .fields import Future, Name, Permissions, RoleNames


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
