"""A database that blocks costs requests a 503, and no more."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event, text

from identity_service.database import engine

from .conftest import Person, separate_connection, wait_for


@pytest.fixture(scope="module", autouse=True)
def shorten_time_limits() -> Iterator[None]:
    """Shorten all time limits, before anything connects."""

    def shorten(_: Any, __: Any, ___: Any, given: dict[str, Any]) -> None:
        given["command_timeout"] /= 10
        limits = given["server_settings"].items()
        given["server_settings"] = {name: str(int(limit) // 10) for name, limit in limits}

    event.listen(engine.sync_engine, "do_connect", shorten)
    yield
    event.remove(engine.sync_engine, "do_connect", shorten)


def test_a_held_lock_costs_other_requests_a_503(person: Person) -> None:
    with separate_connection() as connection:
        connection.execute(text("LOCK TABLE sessions IN EXCLUSIVE MODE"))

        held_up = person.request("POST", "/auth/logout")

        assert (held_up.status_code, held_up.headers["Retry-After"]) == (503, "1")
        connection.rollback()
        assert person.request("POST", "/auth/logout").status_code == 204


def test_listening_for_changes_outlasts_the_statement_timeout(client: TestClient) -> None:
    listening = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
    for_longer = "query LIKE 'LISTEN%' AND now() - query_start > interval '2 seconds'"
    with separate_connection() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        wait_for(lambda: connection.execute(text(f"{listening} AND {for_longer}")).first())
