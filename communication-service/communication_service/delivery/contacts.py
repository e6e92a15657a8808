"""Where people can be reached, as identity knows it at the moment of sending."""

from collections.abc import Collection
from typing import Any

from chassis.errors import ServiceError
from chassis.service_client import ServiceClient

Contact = dict[str, Any]


class UnknownRecipient(Exception):
    """Identity knows no such person."""


class Contacts:
    """Of the recipients of one batch: all are asked for when the first is wanted, and once."""

    def __init__(self, identity: ServiceClient, user_ids: Collection[str]) -> None:
        self._identity, self._user_ids = identity, user_ids
        self._found: dict[str, Contact] | ServiceError | None = None

    def get(self, user_id: str) -> Contact:
        """Raises UnknownRecipient, or what kept identity from answering."""
        if self._found is None:
            self._found = self._fetch()
        if isinstance(self._found, ServiceError):
            raise self._found
        if user_id not in self._found:
            raise UnknownRecipient("Identity knows no such recipient")
        return self._found[user_id]

    def _fetch(self) -> dict[str, Contact] | ServiceError:
        wanted = {"user_ids": list(self._user_ids)}
        try:
            answer = self._identity.call_from_thread("POST", "/api/v1/users/contacts", wanted)
        except ServiceError as error:
            return error
        return {contact["user_id"]: contact for contact in answer["items"]}
