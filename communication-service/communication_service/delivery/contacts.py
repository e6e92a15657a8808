"""Gets the recipients' addresses from identity at send time."""

from collections.abc import Collection

from chassis.errors import ServiceError
from chassis.service_client import ServiceClient

from ..contracts import LIST_CONTACTS, Contact, ContactQuery


class UnknownRecipient(Exception):
    """Raised when identity does not know the user."""


class Contacts:
    """Fetches the contacts of a batch's recipients in one call, on first use."""

    def __init__(self, identity: ServiceClient, user_ids: Collection[str]) -> None:
        self._identity = identity
        self._user_ids = user_ids
        self._found: dict[str, Contact] | ServiceError | None = None

    def get(self, user_id: str) -> Contact:
        """Raises UnknownRecipient, or the ServiceError of the call to identity."""
        if self._found is None:
            self._found = self._fetch()
        if isinstance(self._found, ServiceError):
            raise self._found
        if user_id not in self._found:
            raise UnknownRecipient("Identity knows no such recipient")
        return self._found[user_id]

    def _fetch(self) -> dict[str, Contact] | ServiceError:
        body = ContactQuery(user_ids=list(self._user_ids))
        try:
            answer = LIST_CONTACTS.make_from_thread(self._identity, body)
        except ServiceError as error:
            return error
        return {contact["user_id"]: contact for contact in answer["items"]}
