"""Records each attempt to deliver: opened with the claim, closed with its result."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, insert, tuple_, update
from sqlalchemy.orm import Session

from chassis.clock import now
from chassis.errors import ServiceError
from chassis.tracing import trace_context

from ..models import DELIVERED, Attempt, Delivery
from .channels.protocol import NoAnswer, Receipt, TemporaryFailure, Undeliverable
from .queue import build_table

logger = logging.getLogger(__name__)

# The errors whose text a sender may see; smtplib's errors are OSErrors.
EXPECTED_ERRORS = (Undeliverable, TemporaryFailure, ServiceError, OSError)
MAX_STORED_CHARACTERS = 500  # of an error or a response
RESULT_COLUMNS = (
    "delivery_id", "number", "outcome", "error", "response", "started_at", "finished_at",
)  # fmt: skip


@dataclass
class DeliveryResult:
    """Holds how one attempt went."""

    delivery: Delivery
    started_at: datetime = field(default_factory=now)
    finished_at: datetime = field(default_factory=now)
    receipt: Receipt | None = None
    error: Exception | None = None

    @property
    def outcome(self) -> str:
        if self.error is None:
            return DELIVERED
        if isinstance(self.error, NoAnswer) or not isinstance(self.error, EXPECTED_ERRORS):
            return "unknown"
        return "rejected" if isinstance(self.error, Undeliverable) else "failed"

    @property
    def reason(self) -> str | None:
        """The part of the error that the sender may see."""
        if self.error is None:
            return None
        if not isinstance(self.error, EXPECTED_ERRORS):
            return "Something unexpected went wrong; the trace id leads to the log"
        return clean_for_storage(str(self.error) or type(self.error).__name__)

    @property
    def response(self) -> str | None:
        """The beginning of the other side's response."""
        source = self.receipt or self.error
        response = getattr(source, "response", None)
        return clean_for_storage(response) if response else None


def clean_for_storage(text: str) -> str:
    """Shortens a text and removes what PostgreSQL cannot store."""
    return text.replace("\x00", "").encode(errors="replace").decode()[:MAX_STORED_CHARACTERS]


@contextmanager
def record_result(delivery: Delivery) -> Iterator[DeliveryResult]:
    """Keeps an error in the result and raises nothing, so that other deliveries go on."""
    result = DeliveryResult(delivery)
    with trace_context(delivery.notification.trace_id):
        try:
            yield result
            logger.info("Delivery %s on channel %s succeeded", delivery.id, delivery.channel)
        except Exception as error:
            result.error = error
            is_unexpected = not isinstance(error, EXPECTED_ERRORS)
            message = "Delivery %s failed: %s"
            logger.warning(message, delivery.id, result.reason, exc_info=is_unexpected)
        result.finished_at = now()


def open_attempts(session: Session, deliveries: Sequence[Delivery]) -> None:
    """Saves an attempt with each claim; its number is the claim's fencing token."""
    if deliveries:
        rows = [
            {"delivery_id": each.id, "number": each.fence, "trace_id": each.notification.trace_id}
            for each in deliveries
        ]
        session.execute(insert(Attempt), rows)


def close_attempts(session: Session, results: list[DeliveryResult], finished: set[UUID]) -> None:
    """Saves the results; one that comes after its lease was lost is marked as superseded."""
    rows = [
        {
            "delivery_id": str(result.delivery.id),
            "number": result.delivery.fence,
            "outcome": result.outcome if result.delivery.id in finished else "superseded",
            "error": result.reason,
            "response": result.response,
            "started_at": result.started_at.isoformat(),
            "finished_at": result.finished_at.isoformat(),
        }
        for result in results
    ]
    types = {name: Attempt.__table__.c[name].type for name in RESULT_COLUMNS}
    closed = build_table("closed", rows, types).c
    session.execute(
        update(Attempt)
        .where(Attempt.delivery_id == closed.delivery_id, Attempt.number == closed.number)
        .values({name: closed[name] for name in RESULT_COLUMNS[2:]})
        .execution_options(synchronize_session=False)
    )


def mark_attempts_lost(session: Session, delivery_ids: Sequence[UUID]) -> None:
    """Marks attempts whose worker did not come back; if it does, its own result replaces this."""
    if delivery_ids:
        unfinished = Attempt.delivery_id.in_(delivery_ids) & Attempt.outcome.is_(None)
        lost = {"outcome": "lost", "finished_at": now()}
        session.execute(update(Attempt).where(unfinished).values(lost))


def delete_attempts(session: Session, deliveries: Sequence[Delivery]) -> None:
    if deliveries:
        keys = [(delivery.id, delivery.fence) for delivery in deliveries]
        is_one = tuple_(Attempt.delivery_id, Attempt.number).in_(keys)
        session.execute(delete(Attempt).where(is_one))
