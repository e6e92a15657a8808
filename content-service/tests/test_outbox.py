"""Users are notified of shares exactly once, and sharing never waits for that."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from content_service.database import engine
from content_service.models import Notice

from .conftest import Caller, Login, Neighbours, clean_up, expire_grant, get_time_in_an_hour


def wait_until(found: Callable[[], Any]) -> Any:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if result := found():
            return result
        time.sleep(0.05)
    raise AssertionError("still waiting after 20 seconds")


def list_notices(document: dict[str, Any]) -> list[Notice]:
    with Session(engine) as session:
        return list(session.scalars(select(Notice).where(Notice.document_id == document["id"])))


def list_dead_notices(document: dict[str, Any]) -> list[Notice]:
    return [notice for notice in list_notices(document) if notice.status == "dead"]


def make_due(document: dict[str, Any]) -> None:
    """End the pause before the next attempt."""
    with engine.begin() as connection:
        mine = update(Notice).where(Notice.document_id == document["id"])
        connection.execute(mine.values(run_at=datetime.now(UTC) - timedelta(hours=1)))


@pytest.fixture
def communication(neighbours: Neighbours) -> Any:
    yield neighbours
    neighbours.answer = 202


def test_a_user_is_notified_of_a_share(
    author: Caller, reviewer: Caller, neighbours: Neighbours
) -> None:
    document = author.create(title="Closing the\nmill race")

    author.share(document, reviewer, "write")

    (notification,) = wait_until(lambda: neighbours.notifications_for(reviewer))
    assert notification["category"] == "sharing"
    assert "shared “Closing the mill race” with you" in notification["subject"]
    assert "write access" in notification["body"]
    wait_until(lambda: not list_notices(document))


def test_the_same_grant_notifies_only_once(
    author: Caller, reviewer: Caller, neighbours: Neighbours
) -> None:
    document = author.create()
    author.share(document, reviewer)
    wait_until(lambda: neighbours.notifications_for(reviewer))

    author.share(document, reviewer)
    author.share(document, reviewer, "write")

    wait_until(lambda: len(neighbours.notifications_for(reviewer)) == 2)
    wait_until(lambda: not list_notices(document))
    assert len(neighbours.notifications_for(reviewer)) == 2


def test_sharing_works_and_no_notice_is_lost_while_communication_is_down(
    author: Caller, reviewer: Caller, communication: Neighbours
) -> None:
    communication.answer = 503
    document = author.create()
    author.share(document, reviewer)
    wait_until(lambda: [n for n in list_notices(document) if n.attempts and n.status == "pending"])
    assert reviewer.read(document).status_code == 200
    assert communication.notifications_for(reviewer) == []

    communication.answer = 202
    make_due(document)

    wait_until(lambda: communication.notifications_for(reviewer))
    wait_until(lambda: not list_notices(document))


def test_an_interrupted_notice_is_sent_again_under_the_same_key(
    author: Caller, reviewer: Caller, communication: Neighbours
) -> None:
    communication.answer = 503
    document = author.create()
    author.share(document, reviewer)
    (notice,) = wait_until(lambda: [n for n in list_notices(document) if n.attempts])
    communication.notifications[str(notice.id)] = {"recipient_id": reviewer.user_id}

    communication.answer = 202
    make_due(document)

    wait_until(lambda: not list_notices(document))
    assert len(communication.notifications_for(reviewer)) == 1


def test_a_user_who_lost_the_permission_is_not_notified(
    author: Caller, reviewer: Caller, communication: Neighbours
) -> None:
    communication.answer = 503
    document = author.create()
    author.share(document, reviewer)

    author.delete(f"/documents/{document['id']}/permissions/{reviewer.user_id}")

    assert list_notices(document) == []


@pytest.mark.parametrize("end", ["its time is over", "it is in the trash"])
def test_a_user_who_may_no_longer_see_the_document_is_not_notified(
    author: Caller, reviewer: Caller, communication: Neighbours, end: str
) -> None:
    communication.answer = 503
    document = author.create()
    author.share(document, reviewer, expires_at=get_time_in_an_hour())
    wait_until(lambda: [n for n in list_notices(document) if n.attempts and n.status == "pending"])

    if end == "it is in the trash":
        assert author.delete(f"/documents/{document['id']}").status_code == 204
    else:
        expire_grant(document, f"user:{reviewer.user_id}")
    communication.answer = 202
    make_due(document)

    wait_until(lambda: not list_notices(document))
    assert communication.notifications_for(reviewer) == []


def test_a_notice_that_communication_rejects_is_dead_with_the_reason(
    author: Caller, reviewer: Caller, communication: Neighbours
) -> None:
    communication.answer = 422
    document = author.create()

    author.share(document, reviewer)

    (notice,) = wait_until(partial(list_dead_notices, document))
    assert notice.last_error == "as the test wants it"


def test_dead_notices_are_deleted_after_a_week(
    author: Caller, reviewer: Caller, communication: Neighbours
) -> None:
    communication.answer = 422
    old = author.create()
    new = author.create()
    for document, days in ((old, 8), (new, 6)):
        author.share(document, reviewer)
        (notice,) = wait_until(partial(list_dead_notices, document))
        with engine.begin() as connection:
            age = datetime.now(UTC) - timedelta(days=days)
            connection.execute(update(Notice).filter_by(id=notice.id).values(run_at=age))

    clean_up()

    assert (len(list_notices(old)), len(list_notices(new))) == (0, 1)


def test_a_refused_share_notifies_no_one(
    author: Caller, reviewer: Caller, login: Login, neighbours: Neighbours
) -> None:
    document = author.create()
    author.share(document, reviewer, "read")
    wait_until(lambda: not list_notices(document))
    other = login()

    path = f"/documents/{document['id']}/permissions/{other.user_id}"
    assert reviewer.put(path, json={"level": "read"}).status_code == 403

    assert list_notices(document) == []
    assert neighbours.notifications_for(other) == []
