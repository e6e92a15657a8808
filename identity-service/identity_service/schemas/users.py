"""Bodies about users. In an update, a field that is left out (MISSING) keeps its value."""

from datetime import datetime
from uuid import UUID

from pydantic import MISSING, Field, StrictBool

from chassis.schemas import RequestModel, ResponseModel, Time, example

from .fields import Email, Locale, Name, NewPassword, Phone, PushTokens, RoleNames, Timezone


class Registration(RequestModel):
    model_config = example(
        email="ada@example.com", password="a long and private sentence", name="Ada Lovelace"
    )

    email: Email
    password: NewPassword
    name: Name


class UserCreate(Registration):
    model_config = example(
        email="ada@example.com",
        password="a long and private sentence",
        name="Ada Lovelace",
        roles=["member"],
    )

    roles: RoleNames = Field(default=["member"])
    is_verified: StrictBool = Field(default=False, description="Otherwise, an email asks for it.")


class UserUpdate(RequestModel):
    """Changes the fields that are given."""

    model_config = example(name="Ada King", is_active=True)

    email: Email | MISSING = MISSING
    name: Name | MISSING = MISSING
    is_active: StrictBool | MISSING = MISSING
    locked_until: Time | MISSING | None = Field(
        default=MISSING, description="Until when the user cannot log in; null unlocks."
    )
    is_verified: StrictBool | MISSING = MISSING


class ProfileUpdate(RequestModel):
    """Changes the fields that are given."""

    model_config = example(phone="+4915112345678", locale="de", timezone="Europe/Berlin")

    name: Name | MISSING = MISSING
    phone: Phone | MISSING | None = Field(
        default=MISSING, description="In the international form, such as +4915112345678."
    )
    push_tokens: PushTokens | MISSING = Field(
        default=MISSING, description="Of the devices that get push notifications."
    )
    locale: Locale | MISSING = Field(default=MISSING, description="Such as `de` or `pt-BR`.")
    timezone: Timezone | MISSING = Field(default=MISSING, description="Such as `Europe/Berlin`.")


class RoleAssignment(RequestModel):
    model_config = example(roles=["member", "editor"])

    roles: RoleNames = Field(description="All roles of the user; others are taken away.")


class ContactsQuery(RequestModel):
    model_config = example(user_ids=["0193a1b2-7c4d-7e8f-9a0b-1c2d3e4f5a6b"])

    user_ids: list[UUID] = Field(max_length=1000)


class UserRead(ResponseModel):
    id: UUID
    email: str
    name: str
    roles: list[str]
    is_active: bool
    locked_until: datetime | None = Field(description="Until when the user cannot log in.")
    is_verified: bool = Field(description="Whether the email address is verified.")
    is_service_account: bool = Field(description="Whether it is the account of a program.")
    created_at: datetime


class CurrentUserRead(UserRead):
    permissions: list[str] = Field(description="What you may do, with this token or key.")


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
    permissions: list[str] = Field(description="Those of all roles; `*` is every one.")
