"""The change feed: whose kept answers the other services must drop, in the order of commit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any
from uuid import UUID

from fastapi import FastAPI
from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.background import background_task

from .database import autocommit_engine, engine
from .models import Change

NOTIFY_CHANNEL = "identity_changes"
CHANGES_LOCK_ID = 7_214_020  # any number of its own; advisory locks are per database
MAX_KEPT_CHANGES = 10_000  # changes; who is further behind starts anew
MAX_CHANGES_PER_POLL = 1_000
RECONNECT_SECONDS = 1.0

LOCK_CHANGES = select(func.pg_advisory_xact_lock(CHANGES_LOCK_ID))
INSERT_AND_NOTIFY = insert(Change).returning(Change.seq, func.pg_notify(NOTIFY_CHANNEL, ""))


async def publish_change(
    session: AsyncSession, *, user_id: UUID | None = None, session_id: UUID | None = None
) -> None:
    """Last in its transaction: one session's, all of a user's, or with neither everybody's."""
    await session.flush()
    # Held to the end of the transaction, so that no later number can be seen before this one.
    await session.execute(LOCK_CHANGES)
    change = {"user_id": user_id, "session_id": session_id}
    seq = (await session.execute(INSERT_AND_NOTIFY, change)).scalar_one()
    if seq % 100 == 0:
        await session.execute(delete(Change).where(Change.seq <= seq - MAX_KEPT_CHANGES))


class ChangeNotifier:
    """Rings in this process when any process has committed a change."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    def notify(self, *_: Any) -> None:
        """Wakes everybody who waits for `rung` as it is now; the next wait is for a new one."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def listen(self) -> None:
        """Listens until the connection is lost; meanwhile a poll notices a change at its end."""
        async with engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            lost = asyncio.Event()
            driver.add_termination_listener(lambda _: lost.set())
            await driver.add_listener(NOTIFY_CHANNEL, self.notify)
            self.notify()
            await lost.wait()


@asynccontextmanager
async def listen_for_changes(app: FastAPI) -> AsyncIterator[None]:
    app.state.change_notifier = ChangeNotifier()
    async with background_task(
        "listening for changes", app.state.change_notifier.listen, RECONNECT_SECONDS
    ):
        yield


async def poll_changes(notifier: ChangeNotifier, after: int | None, wait: float) -> dict[str, Any]:
    """The changes after that number, for which it waits so many seconds if there are none yet."""
    deadline = monotonic() + wait
    while True:
        rung = notifier.changed  # taken before looking, so that no ring is missed in between
        feed = await read_changes(after)
        left = deadline - monotonic()
        if after is None or feed["reset"] or feed["changes"] or left <= 0:
            return feed
        with suppress(TimeoutError):
            await asyncio.wait_for(rung.wait(), left)


async def read_changes(after: int | None) -> dict[str, Any]:
    bounds = select(func.coalesce(func.min(Change.seq), 1), func.coalesce(func.max(Change.seq), 0))
    changes = select(Change.seq, Change.user_id, Change.session_id)
    async with autocommit_engine.connect() as connection:
        first, latest = (await connection.execute(bounds)).one()
        unknown = after is not None and not first - 1 <= after <= latest
        if after is None or unknown or after == latest:
            return {"latest": latest, "reset": unknown, "changes": []}
        following = (
            changes.where(Change.seq > after).order_by(Change.seq).limit(MAX_CHANGES_PER_POLL)
        )
        found = [dict(row) for row in (await connection.execute(following)).mappings()]
    return {"latest": found[-1]["seq"], "reset": False, "changes": found}
