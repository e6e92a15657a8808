"""Bodies about users. In an update, a field that is left out (MISSING) keeps its value."""

from datetime import datetime
from uuid import UUID

from pydantic import MISSING, Field

from chassis.schemas import RequestModel, ResponseModel

from .fields import Email, Locale, Name, NewPassword, Phone, PushTokens, RoleNames, Time, Timezone


class Registration(RequestModel):
    email: Email
    password: NewPassword
    name: Name


class UserCreate(Registration):
    roles: RoleNames = Field(default=["member"])
    is_verified: bool = False


class UserUpdate(RequestModel):
    email: Email | MISSING = MISSING
    name: Name | MISSING = MISSING
    is_active: bool | MISSING = MISSING
    locked_until: Time | MISSING | None = MISSING
    is_verified: bool | MISSING = MISSING


class ProfileUpdate(RequestModel):
    name: Name | MISSING = MISSING
    phone: Phone | MISSING | None = MISSING
    push_tokens: PushTokens | MISSING = MISSING
    locale: Locale | MISSING = MISSING
    timezone: Timezone | MISSING = MISSING


class RoleAssignment(RequestModel):
    roles: RoleNames


class ContactsQuery(RequestModel):
    user_ids: list[UUID] = Field(max_length=1000)


class UserRead(ResponseModel):
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


class Profile(ResponseModel):
    user_id: UUID
    email: str
    name: str
    phone: str | None
    locale: str
    timezone: str


class Contact(Profile):
    push_tokens: list[str]


class ContactList(ResponseModel):
    items: list[Contact]


class UserPermissions(ResponseModel):
    user_id: UUID
    roles: list[str]
    permissions: list[str]
