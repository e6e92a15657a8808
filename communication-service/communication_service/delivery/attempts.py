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
from .channels.protocol import Receipt, TemporaryFailure, Undeliverable, UnknownOutcome

logger = logging.getLogger(__name__)

EXPECTED_ERRORS = (
    Undeliverable,
    TemporaryFailure,
    ServiceError,
    OSError,
)  # smtplib's errors are OSErrors
NOT_ARRIVED_OUTCOMES = ("failed", "rejected")
"""Of the outcomes those that say for sure that the recipient has nothing of it."""
MAX_STORED_CHARACTERS = 500  # characters of an error or an answer

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
class DeliveryResult:
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
        if isinstance(self.error, UnknownOutcome) or not isinstance(self.error, EXPECTED_ERRORS):
            return "unknown"
        return "rejected" if isinstance(self.error, Undeliverable) else "failed"

    @property
    def reason(self) -> str | None:
        """What the sender may know of the error."""
        if self.error is None:
            return None
        if not isinstance(self.error, EXPECTED_ERRORS):
            return "Something unexpected went wrong; the trace id leads to the log"
        return clean_for_storage(str(self.error) or type(self.error).__name__)

    @property
    def response(self) -> str | None:
        """The beginning of what the other side answered."""
        said = self.receipt.response if self.receipt else getattr(self.error, "response", None)
        return clean_for_storage(said) if said else None


def clean_for_storage(said: str) -> str:
    """In a form that PostgreSQL can store, and no longer than anybody wants to read."""
    return said.replace("\x00", "").encode(errors="replace").decode()[:MAX_STORED_CHARACTERS]


@contextmanager
def record_result(delivery: Delivery) -> Iterator[DeliveryResult]:
    """Raises nothing: a delivery that fails must not hold up the others."""
    result = DeliveryResult(delivery)
    with trace_context(delivery.notification.trace_id):
        try:
            yield result
            logger.info("delivery %s by %s is made", delivery.id, delivery.channel)
        except Exception as error:
            result.error = error
            trace = not isinstance(error, EXPECTED_ERRORS)
            logger.warning("delivery %s: %s", delivery.id, result.reason, exc_info=trace)
        result.finished_at = now()


def open_attempts(session: Session, deliveries: Sequence[Delivery]) -> None:
    """One with each claim, so that it is seen at work; its number is the fence of the claim."""
    if deliveries:
        rows = [
            {
                "delivery_id": delivery.id,
                "number": delivery.fence,
                "trace_id": delivery.notification.trace_id,
            }
            for delivery in deliveries
        ]
        session.execute(insert(Attempt), rows)


def close_attempts(
    session: Session, results: Sequence[DeliveryResult], finished_ids: Collection[UUID]
) -> None:
    """Where the lease was lost, what came of it is on record and does not count."""
    columns = {
        "delivery_ids": [sent.delivery.id for sent in results],
        "numbers": [sent.delivery.fence for sent in results],
        "outcomes": [
            sent.outcome if sent.delivery.id in finished_ids else "superseded" for sent in results
        ],
        "errors": [sent.reason for sent in results],
        "responses": [sent.response for sent in results],
        "started": [sent.started_at for sent in results],
        "finished": [sent.finished_at for sent in results],
    }
    session.execute(CLOSE, columns)


def mark_attempts_lost(session: Session, delivery_ids: Sequence[UUID]) -> None:
    """Of those whose worker did not come back; should it do so yet, it says so itself."""
    if delivery_ids:
        lost = Attempt.delivery_id.in_(delivery_ids), Attempt.outcome.is_(None)
        session.execute(update(Attempt).where(*lost).values(outcome="lost", finished_at=now()))


def delete_attempts(session: Session, deliveries: Sequence[Delivery]) -> None:
    if deliveries:
        keys = [(delivery.id, delivery.fence) for delivery in deliveries]
        session.execute(
            delete(Attempt).where(tuple_(Attempt.delivery_id, Attempt.number).in_(keys))
        )
