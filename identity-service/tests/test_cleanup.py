"""The cleanup deletes expired rows, and no others."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from identity_service.cleanup import delete_expired_rows

from .conftest import Person, wait_for

SQL = Callable[..., list[Any]]
ROWS_OF_USER = """
    SELECT 'session' FROM sessions WHERE user_id = :id
    UNION ALL SELECT 'token' FROM refresh_tokens JOIN sessions s ON s.id = session_id
    WHERE s.user_id = :id
    UNION ALL SELECT 'challenge' FROM challenges WHERE user_id = :id
    UNION ALL SELECT status FROM mails WHERE user_id = :id
    ORDER BY 1
"""


@pytest.mark.parametrize("batch_size", [1, 1_000])
def test_only_expired_rows_are_deleted(
    client: TestClient, person: Person, other: Person, sql: SQL, batch_size: int
) -> None:
    person.log_in_again()
    waiting = "SELECT 1 FROM mails WHERE status <> 'done' AND user_id IN (:one, :two)"
    wait_for(lambda: not sql(waiting, one=person.id, two=other.id))
    for one in (person, other):
        sql("INSERT INTO challenges VALUES (:id, :user, now() + interval '1 minute')",
            id=one.id.encode(), user=one.id)  # fmt: skip
    sql("UPDATE sessions SET expires_at = now() WHERE user_id = :id", id=person.id)
    sql("UPDATE challenges SET expires_at = now() WHERE user_id = :id", id=person.id)
    died = "UPDATE mails SET status = 'dead', run_at = now() - interval '31 days'"
    sql(f"{died} WHERE user_id = :id", id=person.id)

    assert client.portal is not None
    client.portal.call(delete_expired_rows, batch_size)

    assert sql(ROWS_OF_USER, id=person.id) == []
    left = [row[0] for row in sql(ROWS_OF_USER, id=other.id)]
    assert left == ["challenge", "done", "session", "token"]
