"""The change feed: tells other services, in commit order, which cached users they must drop."""

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
from .schemas.events import ChangeFeed, ChangeRead

NOTIFY_CHANNEL = "identity_changes"
CHANGES_LOCK_ID = 7_214_020  # arbitrary; advisory locks are per database
MAX_KEPT_CHANGES = 10_000  # a service that is further behind drops its whole cache
MAX_CHANGES_PER_POLL = 1_000
RECONNECT_SECONDS = 1.0

LOCK_CHANGES = select(func.pg_advisory_xact_lock(CHANGES_LOCK_ID))
INSERT_AND_NOTIFY = insert(Change).returning(Change.seq, func.pg_notify(NOTIFY_CHANNEL, ""))


async def publish_change(
    session: AsyncSession, *, user_id: UUID | None = None, session_id: UUID | None = None
) -> None:
    """Announces one session, all sessions of a user, or all users. Call it last: it locks."""
    await session.flush()
    # Held until the commit, so that a reader never sees a later number first.
    await session.execute(LOCK_CHANGES)
    change = {"user_id": user_id, "session_id": session_id}
    seq = (await session.execute(INSERT_AND_NOTIFY, change)).scalar_one()
    if seq % 100 == 0:
        await session.execute(delete(Change).where(Change.seq <= seq - MAX_KEPT_CHANGES))


class ChangeNotifier:
    """Wakes waiting polls of this process when any process has committed a change."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    def notify(self, *_: Any) -> None:
        """Wakes all who wait for the current `changed` event, and starts a new one."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def listen(self) -> None:
        """Listens until the connection is lost. Meanwhile, polls see changes when they end."""
        async with engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            disconnected = asyncio.Event()
            driver.add_termination_listener(lambda _: disconnected.set())
            await driver.add_listener(NOTIFY_CHANNEL, self.notify)
            self.notify()
            await disconnected.wait()


@asynccontextmanager
async def listen_for_changes(app: FastAPI) -> AsyncIterator[None]:
    """Wakes waiting polls as long as the app runs."""
    notifier = ChangeNotifier()
    app.state.change_notifier = notifier
    async with background_task("listening for changes", notifier.listen, RECONNECT_SECONDS):
        yield


def get_change_notifier(app: FastAPI) -> ChangeNotifier:
    notifier: ChangeNotifier = app.state.change_notifier
    return notifier


async def poll_changes(notifier: ChangeNotifier, after: int | None, wait: float) -> ChangeFeed:
    """Returns the changes after a position; waits up to `wait` seconds if there are none yet."""
    deadline = monotonic() + wait
    while True:
        changed = notifier.changed  # taken before the query, so that no change is missed
        feed = await read_changes(after)
        remaining = deadline - monotonic()
        if after is None or feed.reset or feed.changes or remaining <= 0:
            return feed
        with suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), remaining)


async def read_changes(after: int | None) -> ChangeFeed:
    """Returns a reset when the position is unknown, such as one that was pruned."""
    bounds = select(func.coalesce(func.min(Change.seq), 1), func.coalesce(func.max(Change.seq), 0))
    async with autocommit_engine.connect() as connection:
        first, latest = (await connection.execute(bounds)).one()
        is_unknown = after is not None and not first - 1 <= after <= latest
        if after is None or is_unknown or after == latest:
            return ChangeFeed(latest=latest, reset=is_unknown, changes=[])
        changes = select(Change.seq, Change.user_id, Change.session_id).where(Change.seq > after)
        rows = await connection.execute(changes.order_by(Change.seq).limit(MAX_CHANGES_PER_POLL))
        found = [ChangeRead.model_validate(row) for row in rows]
    return ChangeFeed(latest=found[-1].seq, reset=False, changes=found)
