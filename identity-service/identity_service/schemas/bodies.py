"""What comes in and goes out: bodies and answers."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import MISSING, BaseModel, ConfigDict, Field

from chassis.schemas import STRICT

from .fields import (
    Code,
    Description,
    Email,
    Future,
    Guess,
    Locale,
    Name,
    NewPassword,
    Permission,
    Permissions,
    Phone,
    PushTokens,
    RoleName,
    RoleNames,
    Secret,
    Time,
    Timezone,
)


class Request(BaseModel):
    """In a patch, a field that is left out (MISSING) stays as it is."""

    model_config = STRICT


class Registration(Request):
    email: Email
    password: NewPassword
    name: Name


class Credentials(Request):
    email: Email
    password: Secret


class SecondFactorProof(Request):
    challenge: Secret
    code: Code


class CodeOnly(Request):
    code: Code


class StepUp(Request):
    """The code of whoever has a second factor, the password of everybody else."""

    code: Code | None = Field(default=None, repr=False)
    password: Guess | None = Field(default=None, repr=False)


class ApiKeyCreate(Request):
    name: Name
    scopes: Annotated[Permissions, Field(min_length=1)]
    expires_at: Future | None = None


class ServiceAccountCreate(Request):
    name: Name
    roles: RoleNames


class Refresh(Request):
    refresh_token: Secret


class PasswordChange(Request):
    current_password: Secret
    new_password: NewPassword


class Address(Request):
    email: Email


class Link(Request):
    token: Secret


class PasswordReset(Link):
    new_password: NewPassword


class TokenBody(Request):
    token: str | None = None


class ClientCredentials(Request):
    """OAuth2 client credentials, and whom the service acts for."""

    grant_type: Literal["client_credentials"]
    client_id: Secret
    client_secret: Secret
    on_behalf_of: UUID | None = None


class Question(Request):
    permission: Permission


class UserCreate(Registration):
    roles: RoleNames = ["member"]
    is_verified: bool = False


class UserPatch(Request):
    email: Email | MISSING = MISSING
    name: Name | MISSING = MISSING
    is_active: bool | MISSING = MISSING
    locked_until: Time | MISSING | None = MISSING
    is_verified: bool | MISSING = MISSING


class ProfilePatch(Request):
    name: Name | MISSING = MISSING
    phone: Phone | MISSING | None = MISSING
    push_tokens: PushTokens | MISSING = MISSING
    locale: Locale | MISSING = MISSING
    timezone: Timezone | MISSING = MISSING


class UserRoles(Request):
    roles: RoleNames


class RoleCreate(Request):
    name: RoleName
    description: Description = ""
    permissions: Permissions
    inherits: RoleNames = []


class RolePatch(Request):
    description: Description | MISSING = MISSING
    permissions: Permissions | MISSING = MISSING
    inherits: RoleNames | MISSING = MISSING


class Answer(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class UserRead(Answer):
    id: UUID
    email: str
    name: str
    roles: list[str]
    is_active: bool
    locked_until: datetime | None
    is_verified: bool
    is_service_account: bool
    created_at: datetime


class Me(UserRead):
    permissions: list[str]


class Profile(Answer):
    user_id: UUID
    email: str
    name: str
    phone: str | None
    locale: str
    timezone: str


class Contact(Profile):
    push_tokens: list[str]


class ContactsQuery(Request):
    user_ids: list[UUID] = Field(max_length=1000)


class Contacts(Answer):
    items: list[Contact]


class Rights(Answer):
    user_id: UUID
    roles: list[str]
    permissions: list[str]


class Validation(Rights):
    valid: bool
    is_valid: bool
    email: str | None
    session_id: UUID
    expires_at: datetime
    is_verified: bool
    actor: str | None


class Told(Answer):
    """What happened, for a person to read."""

    detail: str


class Verdict(Answer):
    permission: str
    allowed: bool


class AccessToken(Answer):
    access_token: str
    token_type: str = "bearer"
    expires_in: int


class TokenPair(AccessToken):
    refresh_token: str
    user_id: UUID


class ChallengeRead(Answer):
    """In place of tokens, to whoever has a second factor: answer it at /auth/mfa/verify."""

    mfa_required: bool
    challenge: str
    expires_in: int


class SecondFactorSetUp(Answer):
    secret: str
    uri: str
    qr_code: str


class RecoveryCodes(Answer):
    recovery_codes: list[str]


class ApiKeyRead(Answer):
    id: UUID
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class ApiKeyMade(ApiKeyRead):
    """With the key itself, which is shown this once."""

    secret: str


class ChangeRead(Answer):
    seq: int
    user_id: UUID | None
    session_id: UUID | None


class Feed(Answer):
    latest: int
    reset: bool
    changes: list[ChangeRead]


class SessionRead(Answer):
    id: UUID
    is_current: bool
    ip: str | None
    user_agent: str | None
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


class RoleRead(Answer):
    name: str
    description: str
    permissions: list[str]
    inherits: list[str]
    effective_permissions: list[str]
    is_system: bool
    created_at: datetime


class AuditEventRead(Answer):
    id: UUID
    at: datetime
    action: str
    actor_id: UUID | None
    acting_service: str | None
    subject_id: UUID | None
    ip: str | None
    trace_id: str | None
    details: dict[str, Any]
