"""The record of each attempt to deliver: opened with the claim, closed with its outcome."""

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, insert, text, tuple_, update
from sqlalchemy.orm import Session

from chassis.errors import ServiceError
from chassis.tracing import trace_context

from ..models import DELIVERED, Attempt, Delivery, now
from .channels.protocol import Receipt, TryLater, Unanswered, Undeliverable

logger = logging.getLogger(__name__)

EXPECTED = (Undeliverable, TryLater, ServiceError, OSError)  # smtplib's errors are OSErrors
NOT_ARRIVED = ("failed", "rejected")
"""Of the outcomes those that say for sure that the recipient has nothing of it."""
LONGEST = 500  # characters of an error or an answer

CLOSE = text("""
    UPDATE communication_attempts attempt
    SET outcome = done.outcome, error = done.error, response = done.response,
        started_at = done.started_at, finished_at = done.finished_at
    FROM unnest(
        CAST(:delivery_ids AS uuid[]), CAST(:numbers AS int[]), CAST(:outcomes AS text[]),
        CAST(:errors AS text[]), CAST(:responses AS text[]),
        CAST(:started AS timestamptz[]), CAST(:finished AS timestamptz[])
    ) done (delivery_id, number, outcome, error, response, started_at, finished_at)
    WHERE attempt.delivery_id = done.delivery_id AND attempt.number = done.number
""")


@dataclass
class Sent:
    """How one delivery went."""

    delivery: Delivery
    started_at: datetime = field(default_factory=now)
    finished_at: datetime = field(default_factory=now)
    receipt: Receipt | None = None
    error: Exception | None = None

    @property
    def outcome(self) -> str:
        if self.error is None:
            return DELIVERED
        if isinstance(self.error, Unanswered) or not isinstance(self.error, EXPECTED):
            return "unknown"
        return "rejected" if isinstance(self.error, Undeliverable) else "failed"

    @property
    def reason(self) -> str | None:
        """What the sender may know of the error."""
        if self.error is None:
            return None
        if not isinstance(self.error, EXPECTED):
            return "Something unexpected went wrong; the trace id leads to the log"
        return storable(str(self.error) or type(self.error).__name__)

    @property
    def response(self) -> str | None:
        """The beginning of what the other side answered."""
        said = self.receipt.response if self.receipt else getattr(self.error, "response", None)
        return storable(said) if said else None


def storable(said: str) -> str:
    """In a form that PostgreSQL can store, and no longer than anybody wants to read."""
    return said.replace("\x00", "").encode(errors="replace").decode()[:LONGEST]


@contextmanager
def under_way(delivery: Delivery) -> Iterator[Sent]:
    """Raises nothing: a delivery that fails must not hold up the others."""
    sent = Sent(delivery)
    with trace_context(delivery.notification.trace_id):
        try:
            yield sent
            logger.info("delivery %s by %s is made", delivery.id, delivery.channel)
        except Exception as error:
            sent.error = error
            trace = not isinstance(error, EXPECTED)
            logger.warning("delivery %s: %s", delivery.id, sent.reason, exc_info=trace)
        sent.finished_at = now()


def open_attempts(session: Session, taken: Sequence[Delivery]) -> None:
    """One with each claim, so that it is seen at work; its number is the fence of the claim."""
    if taken:
        rows = [
            {
                "delivery_id": delivery.id,
                "number": delivery.fence,
                "trace_id": delivery.notification.trace_id,
            }
            for delivery in taken
        ]
        session.execute(insert(Attempt), rows)


def close_attempts(session: Session, done: Sequence[Sent], ours: Collection[UUID]) -> None:
    """Where the lease was lost, what came of it is on record and does not count."""
    columns = {
        "delivery_ids": [sent.delivery.id for sent in done],
        "numbers": [sent.delivery.fence for sent in done],
        "outcomes": [sent.outcome if sent.delivery.id in ours else "superseded" for sent in done],
        "errors": [sent.reason for sent in done],
        "responses": [sent.response for sent in done],
        "started": [sent.started_at for sent in done],
        "finished": [sent.finished_at for sent in done],
    }
    session.execute(CLOSE, columns)


def lose_attempts(session: Session, delivery_ids: Sequence[UUID]) -> None:
    """Of those whose worker did not come back; should it do so yet, it says so itself."""
    if delivery_ids:
        lost = Attempt.delivery_id.in_(delivery_ids), Attempt.outcome.is_(None)
        session.execute(update(Attempt).where(*lost).values(outcome="lost", finished_at=now()))


def drop_attempts(session: Session, untried: Sequence[Delivery]) -> None:
    if untried:
        keys = [(delivery.id, delivery.fence) for delivery in untried]
        session.execute(
            delete(Attempt).where(tuple_(Attempt.delivery_id, Attempt.number).in_(keys))
        )
