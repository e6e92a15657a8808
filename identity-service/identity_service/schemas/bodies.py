"""What comes in and goes out: bodies and answers."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import MISSING, BaseModel, ConfigDict, Field

from chassis.schemas import STRICT

from .fields import (
    Description,
    Email,
    Future,
    HiddenInput,
    Locale,
    Name,
    NewPassword,
    Permission,
    Permissions,
    Phone,
    PushTokens,
    RoleName,
    RoleNames,
    SecondFactorCode,
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


class LoginCredentials(Request):
    email: Email
    password: Secret


class ChallengeAnswer(Request):
    challenge: Secret
    code: SecondFactorCode


class TotpConfirmation(Request):
    code: SecondFactorCode


class StepUpProof(Request):
    """The code of whoever has a second factor, the password of everybody else."""

    code: SecondFactorCode | None = Field(default=None, repr=False)
    password: HiddenInput | None = Field(default=None, repr=False)


class ApiKeyCreate(Request):
    name: Name
    scopes: Annotated[Permissions, Field(min_length=1)]
    expires_at: Future | None = None


class ServiceAccountCreate(Request):
    name: Name
    roles: RoleNames


class RefreshRequest(Request):
    refresh_token: Secret


class PasswordChange(Request):
    current_password: Secret
    new_password: NewPassword


class EmailRequest(Request):
    email: Email


class LinkToken(Request):
    token: Secret


class PasswordReset(LinkToken):
    new_password: NewPassword


class ValidationRequest(Request):
    token: str | None = None


class ClientCredentials(Request):
    """OAuth2 client credentials, and whom the service acts for."""

    grant_type: Literal["client_credentials"]
    client_id: Secret
    client_secret: Secret
    on_behalf_of: UUID | None = None


class PermissionQuery(Request):
    permission: Permission


class UserCreate(Registration):
    roles: RoleNames = ["member"]
    is_verified: bool = False


class UserUpdate(Request):
    email: Email | MISSING = MISSING
    name: Name | MISSING = MISSING
    is_active: bool | MISSING = MISSING
    locked_until: Time | MISSING | None = MISSING
    is_verified: bool | MISSING = MISSING


class ProfileUpdate(Request):
    name: Name | MISSING = MISSING
    phone: Phone | MISSING | None = MISSING
    push_tokens: PushTokens | MISSING = MISSING
    locale: Locale | MISSING = MISSING
    timezone: Timezone | MISSING = MISSING


class RoleAssignment(Request):
    roles: RoleNames


class RoleCreate(Request):
    name: RoleName
    description: Description = ""
    permissions: Permissions
    inherits: RoleNames = []


class RoleUpdate(Request):
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


class CurrentUserRead(UserRead):
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


class ContactList(Answer):
    items: list[Contact]


class UserPermissions(Answer):
    user_id: UUID
    roles: list[str]
    permissions: list[str]


class ValidatedToken(UserPermissions):
    valid: bool
    is_valid: bool
    email: str | None
    session_id: UUID
    expires_at: datetime
    is_verified: bool
    actor: str | None


class Message(Answer):
    """What happened, for a person to read."""

    detail: str


class PermissionAnswer(Answer):
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


class TotpSetup(Answer):
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


class ApiKeyWithSecret(ApiKeyRead):
    """With the key itself, which is shown this once."""

    secret: str


class ChangeRead(Answer):
    seq: int
    user_id: UUID | None
    session_id: UUID | None


class ChangeFeed(Answer):
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
