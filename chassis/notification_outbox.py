"""An outbox of notifications: rows written with the change they tell of, sent by communication.

A row is handed over under its own id as the Idempotency-Key, so that handing it over twice sends
one notification. As long as communication is unavailable, rows wait.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Generic, TypeVar

from fastapi import FastAPI
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Mapped, Session, mapped_column, sessionmaker

from .background import background_task
from .contracts import HAND_OVER_NOTIFICATION, NewNotification
from .errors import ServiceError
from .job_queue import DEAD, QueuedJobMixin, RetryPolicy, claim_jobs, finish_job, retry_job
from .service_client import Account, ServiceClient
from .tracing import get_trace_id, trace_context

logger = logging.getLogger(__name__)

LEASE = timedelta(minutes=1)  # longer than handing over can take
RETRY_POLICY = RetryPolicy(max_attempts=2_000, max_delay=60)  # more than a day


class OutboxMixin(QueuedJobMixin):
    """Adds the columns of an outbox to a table, which has an `id` of its own."""

    trace_id: Mapped[str | None] = mapped_column(default=get_trace_id)


Row = TypeVar("Row", bound=OutboxMixin)
Result = TypeVar("Result")


@dataclass(frozen=True)
class NotificationOutbox(Generic[Row]):
    """Hands the due rows of a table over to communication.

    `build_notification` returns the body of the request, or None for a row that is out of date.
    An error of a kind in `give_up_on` makes the row dead; every other one is retried.
    """

    table: type[Row]
    sessions: sessionmaker[Session] | async_sessionmaker[AsyncSession]
    build_notification: Callable[[Session, Row], NewNotification | None]
    keep_sent: bool = True
    give_up_on: tuple[type[ServiceError], ...] = ()
    batch_size: int = 10

    @asynccontextmanager
    async def run(
        self, app: FastAPI, communication_url: str, account: Account, pause: float
    ) -> AsyncIterator[None]:
        """Send what is due in the background; several processes share the rows."""
        communication = ServiceClient(
            communication_url,
            app.state.settings.service_name,
            target="communication-service",
            account=account,
            transport=app.state.transport,
        )
        name = f"outbox {self.table.__name__}"
        loop = background_task(name, partial(self.send_due, communication), pause)
        async with aclosing(communication), loop:
            yield

    async def send_due(self, communication: ServiceClient) -> bool:
        """Send one batch; return True when there may be more."""
        claim = partial(claim_jobs, table=self.table, limit=self.batch_size, lease=LEASE)
        claimed = await self._in_transaction(claim)
        await asyncio.gather(*(self._send(communication, row) for row in claimed))
        return len(claimed) == self.batch_size

    async def _send(self, communication: ServiceClient, row: Row) -> None:
        with trace_context(row.trace_id):
            try:
                # In a transaction apart from the claim: a row that is changed twice in one
                # transaction locks the rows it refers to, too.
                body = await self._in_transaction(self.build_notification, row)
                if body is not None:
                    key = {"Idempotency-Key": str(row.id)}
                    await HAND_OVER_NOTIFICATION.make(communication, body, headers=key)
            except ServiceError as error:
                logger.warning("communication did not take notification %s: %s", row.id, error)
                await self._in_transaction(self._record_failure, row, error)
            else:
                await self._in_transaction(self._record_success, row)

    def _record_failure(self, session: Session, row: Row, error: ServiceError) -> None:
        if isinstance(error, self.give_up_on):
            finish_job(session, row, DEAD, last_error=str(error))
        else:
            retry_job(session, row, str(error), RETRY_POLICY)

    def _record_success(self, session: Session, row: Row) -> None:
        if self.keep_sent:
            finish_job(session, row)
        else:
            session.execute(delete(self.table).where(self.table.id == row.id))

    async def _in_transaction(self, function: Callable[..., Result], *args: Any) -> Result:
        if isinstance(self.sessions, async_sessionmaker):
            async with self.sessions.begin() as session:
                return await session.run_sync(function, *args)
        # Not in the threads of requests, which may all be busy.
        return await asyncio.to_thread(run_in_transaction, self.sessions, function, *args)


def run_in_transaction(
    sessions: sessionmaker[Session], function: Callable[..., Result], *args: Any
) -> Result:
    with sessions.begin() as session:
        return function(session, *args)
