"""Bodies about tokens: validation, client credentials, refreshing, and permission checks."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from chassis.schemas import RequestModel, ResponseModel, example

from .fields import Permission, Secret
from .users import UserPermissions


class RefreshRequest(RequestModel):
    model_config = example(refresh_token="kZ1vB9s3Qn0")

    refresh_token: Secret


class ValidationRequest(RequestModel):
    model_config = example(token="eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl")

    token: str | None = None


class ClientCredentials(RequestModel):
    """OAuth2 client credentials; unknown fields are ignored (RFC 6749, section 3.2)."""

    model_config = ConfigDict(
        extra="ignore",
        **example(
            grant_type="client_credentials",
            client_id="workflow-service",
            client_secret="a long random text",
        ),
    )

    grant_type: Literal["client_credentials"]
    client_id: Secret
    client_secret: Secret
    on_behalf_of: UUID | None = Field(
        default=None, description="The user to act for; without it, the token is the service's."
    )


class PermissionQuery(RequestModel):
    model_config = example(permission="documents:write")

    permission: Permission


class PermissionAnswer(ResponseModel):
    permission: str
    allowed: bool


class AccessToken(ResponseModel):
    access_token: str
    token_type: str = "bearer"
    expires_in: int = Field(description="Seconds.")


class TokenPair(AccessToken):
    refresh_token: str
    user_id: UUID


class ValidatedToken(UserPermissions):
    valid: bool = Field(description="Always true: an invalid token is answered with 401.")
    is_valid: bool = Field(description="The same as `valid`.")
    email: str | None = Field(description="Null for a service.")
    session_id: UUID = Field(description="Of the session, API key or service.")
    expires_at: datetime
    is_verified: bool = Field(description="Whether the email address is verified.")
    actor: str | None = Field(description="The service that acts for the user, if any.")
