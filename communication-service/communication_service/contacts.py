"""Where people can be reached, as identity knows it at the moment of sending."""

import asyncio
from collections.abc import Collection
from typing import Any

from chassis.errors import ServiceError
from chassis.service_client import ServiceClient, from_any_thread

AT_ONCE = 10

Contact = dict[str, Any]


class Contacts:
    """Of the recipients of one batch: all are asked for when the first is wanted."""

    def __init__(self, identity: ServiceClient, people: Collection[str]) -> None:
        self._identity, self._people = identity, people
        self._found: dict[str, Contact | ServiceError] | None = None

    def of(self, user_id: str) -> Contact:
        """Raises NotFound for whom identity does not know, and what kept it from answering."""
        if self._found is None:
            self._found = from_any_thread(self._fetch_all)
        found = self._found[user_id]
        if isinstance(found, ServiceError):
            raise found
        return found

    async def _fetch_all(self) -> dict[str, Contact | ServiceError]:
        gate = asyncio.Semaphore(AT_ONCE)

        async def fetch(user_id: str) -> Contact | ServiceError:
            async with gate:
                try:
                    path = f"/api/v1/users/{user_id}/contact"
                    return dict(await self._identity.make_request("GET", path))
                except ServiceError as error:
                    return error

        found = await asyncio.gather(*map(fetch, self._people))
        return dict(zip(self._people, found, strict=True))
