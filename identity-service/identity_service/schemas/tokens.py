"""Bodies about tokens: validation, client credentials, refreshing, and permission checks."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from chassis.schemas import RequestModel, ResponseModel

from .fields import Permission, Secret
from .users import UserPermissions


class RefreshRequest(RequestModel):
    refresh_token: Secret


class ValidationRequest(RequestModel):
    token: str | None = None


class ClientCredentials(RequestModel):
    """OAuth2 client credentials; with `on_behalf_of`, for a token to act for that user."""

    grant_type: Literal["client_credentials"]
    client_id: Secret
    client_secret: Secret
    on_behalf_of: UUID | None = None


class PermissionQuery(RequestModel):
    permission: Permission


class PermissionAnswer(ResponseModel):
    permission: str
    allowed: bool


class AccessToken(ResponseModel):
    access_token: str
    token_type: str = "bearer"
    expires_in: int


class TokenPair(AccessToken):
    refresh_token: str
    user_id: UUID


class ValidatedToken(UserPermissions):
    valid: bool
    is_valid: bool
    email: str | None
    session_id: UUID
    expires_at: datetime
    is_verified: bool
    actor: str | None
