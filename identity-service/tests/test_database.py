"""The database: one that does not go on costs an answer, and no more."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event, text

from identity_service.database import engine

from .conftest import Person, aside, eventually


@pytest.fixture(scope="module", autouse=True)
def every_limit_is_a_tenth() -> Iterator[None]:
    """Before anything connects."""

    def shorten(_: Any, __: Any, ___: Any, given: dict[str, Any]) -> None:
        given["command_timeout"] /= 10
        limits = given["server_settings"].items()
        given["server_settings"] = {name: str(int(limit) // 10) for name, limit in limits}

    event.listen(engine.sync_engine, "do_connect", shorten)
    yield
    event.remove(engine.sync_engine, "do_connect", shorten)


def test_whoever_holds_a_lock_costs_others_a_503_and_no_more(person: Person) -> None:
    with aside() as connection:
        connection.execute(text("LOCK TABLE sessions IN EXCLUSIVE MODE"))

        held_up = person.request("POST", "/auth/logout")

        assert (held_up.status_code, held_up.headers["Retry-After"]) == (503, "1")
        connection.rollback()
        assert person.request("POST", "/auth/logout").status_code == 204


def test_the_feed_is_listened_to_for_longer_than_a_statement_may_take(client: TestClient) -> None:
    listening = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
    for_longer = "query LIKE 'LISTEN%' AND now() - query_start > interval '2 seconds'"
    with aside() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        eventually(lambda: connection.execute(text(f"{listening} AND {for_longer}")).first())
