"""Helpers of the tests that deliver: claim, retry, wait until a notification is finished."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event, text

from communication_service.database import engine, session_maker
from communication_service.delivery import claims
from communication_service.models import PRIORITIES, Delivery
from communication_service.settings import Settings

from .conftest import Caller

Deliver = Callable[..., None]


def get_outcomes(sender: Caller, notification: dict[str, Any]) -> list[str]:
    return [attempt["outcome"] for attempt in sender.attempts(notification)]


def claim_on(channel: str, settings: Settings) -> list[Delivery]:
    """Does what a worker does before it sends."""
    with session_maker.begin() as session:
        claimed = claims.claim_deliveries(session, channel, PRIORITIES, settings)
        return claims.start_attempts(session, claimed, settings)


def deliver_until_finished(sender: Caller, notification: dict[str, Any], deliver: Deliver) -> None:
    """Runs the worker until the notification is finished."""
    until = time.monotonic() + 20
    while sender.status(notification) in ("pending", "running"):
        assert time.monotonic() < until
        deliver()
        time.sleep(0.05)


def get_retry_delay(notification_id: str) -> float:
    statement = text(
        "SELECT extract(epoch FROM run_at - now()) FROM communication_deliveries"
        " WHERE notification_id = :id"
    )
    with engine.begin() as connection:
        return float(connection.execute(statement, {"id": notification_id}).scalar_one())


def send_webhook(sender: Caller, recipient: Caller, **fields: Any) -> dict[str, Any]:
    return sender.notify(recipient, channels=["webhook"], **fields)


def read_endpoint(recipient: Caller, endpoint: dict[str, Any]) -> dict[str, Any]:
    return dict(recipient.get(f"/webhook-endpoints/{endpoint['id']}").json())


@contextmanager
def record_statements(beginning: str) -> Iterator[list[str]]:
    """Records the SQL statements with this beginning."""
    found: list[str] = []

    def note(*arguments: Any) -> None:
        statement = str(arguments[2])
        if statement.startswith(beginning):
            found.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


def bring_forward(notification_id: str) -> None:
    """Makes the deliveries of a notification due now."""
    earlier = text(
        "UPDATE communication_deliveries SET run_at = now() - interval '1 second'"
        " WHERE notification_id = :id"
    )
    with engine.begin() as connection:
        connection.execute(earlier, {"id": notification_id})


def set_preferences(person: Caller, **preferences: Any) -> dict[str, Any]:
    response = person.put("/preferences", json=preferences)
    assert response.status_code == 200, response.text
    return dict(response.json())


def get_deliveries(
    sender: Caller, notification: dict[str, Any]
) -> dict[str, tuple[str, str | None]]:
    """Return status and reason by channel."""
    found = sender.get(f"/notifications/{notification['id']}").json()["deliveries"]
    return {one["channel"]: (one["status"], one["reason"]) for one in found}
