"""What this service uses of identity, beside the calls of every service in chassis/contracts.py."""

from typing import NotRequired

from typing_extensions import TypedDict

from chassis.contracts import NeighbourCall


class Contact(TypedDict):
    """Describes how to reach a user."""

    user_id: str
    name: str | None
    email: str | None
    phone: NotRequired[str | None]
    locale: NotRequired[str | None]


class Contacts(TypedDict):
    items: list[Contact]


class ContactQuery(TypedDict):
    user_ids: list[str]


LIST_CONTACTS = NeighbourCall("identity", "POST", "/api/v1/users/contacts", Contacts, ContactQuery)
