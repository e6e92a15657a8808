"""Idempotency-Key: requests that a client may repeat, with a sync and an async session."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from tools.localdev.fake_identity import FakeIdentity, Person

from .toy_notes import (
    KEYS,
    METADATA,
    NOTES,
    FaultInjector,
    SimulatedConflict,
    Toy,
    post,
    running,
    titles,
    with_async_sessions,
    with_sync_sessions,
)


@pytest.fixture(params=[with_sync_sessions, with_async_sessions])
async def toy(
    request: pytest.FixtureRequest, engine: sa.Engine, database_url: str
) -> AsyncIterator[tuple[httpx.AsyncClient, FaultInjector]]:
    """The toy service over HTTP, and its fault injector."""
    METADATA.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.delete(KEYS))
        connection.execute(sa.delete(NOTES))
    faults = FaultInjector(FakeIdentity())
    router, dispose = request.param(database_url, faults)
    async with running(router, faults) as client:
        yield client, faults
    await dispose()


async def test_a_repeated_request_gets_the_same_response(toy: Toy, engine: sa.Engine) -> None:
    client, _ = toy

    first = await post(client, "key-1", "Notes")
    again = await post(client, "key-1", "Notes")

    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert first.headers["Location"] == again.headers["Location"]
    assert first.headers["Content-Type"] == again.headers["Content-Type"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert first.headers["X-Trace-ID"] != again.headers["X-Trace-ID"]
    assert titles(engine) == ["Notes"]


async def test_without_a_key_no_response_is_stored(toy: Toy, engine: sa.Engine) -> None:
    client, _ = toy

    assert (await post(client, None, "One")).status_code == 201
    assert (await post(client, None, "Two")).status_code == 201

    assert titles(engine) == ["One", "Two"]
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(KEYS)) == 0


async def test_a_key_with_another_body_or_path_is_422(toy: Toy, engine: sa.Engine) -> None:
    client, faults = toy
    ada = faults.identity.add_person()

    await post(client, "key-1", "Notes", ada)
    other_body = await post(client, "key-1", "Other notes", ada)
    other_path = await client.post(
        "/notes", json={"title": "Notes"}, headers={"Idempotency-Key": "key-1", **ada.headers}
    )

    for response in (other_body, other_path):
        assert response.status_code == 422
        assert response.json()["code"] == "KeyReused"
    assert titles(engine) == ["Notes"]


async def test_each_caller_has_keys_of_their_own(toy: Toy, engine: sa.Engine) -> None:
    client, faults = toy
    ada = faults.identity.add_person()
    bob = faults.identity.add_person()

    hers = await post(client, "key-1", "Hers", ada)
    his = await post(client, "key-1", "His", bob)

    assert hers.json()["owner"] == ada.user_id
    assert his.json()["owner"] == bob.user_id
    assert titles(engine) == ["Hers", "His"]


async def test_a_new_token_of_the_same_user_gets_the_stored_response(toy: Toy) -> None:
    client, faults = toy
    ada = faults.identity.add_person()
    ada_again = faults.identity.add_person(user_id=ada.user_id)

    await post(client, "key-1", "Hers", ada)
    again = await post(client, "key-1", "Hers", ada_again)

    assert again.headers["Idempotent-Replayed"] == "true"


async def test_a_bad_token_gets_no_stored_response(toy: Toy) -> None:
    client, faults = toy
    ada = faults.identity.add_person()
    await post(client, "key-1", "Hers", ada)
    stranger = Person(ada.user_id, ada.email, "garbage")

    assert (await post(client, "key-1", "Hers", stranger)).status_code == 401


async def test_while_the_first_is_running_the_second_is_409(toy: Toy, engine: sa.Engine) -> None:
    client, faults = toy
    faults.gate.clear()

    first = asyncio.create_task(post(client, "key-1", "Notes"))
    await asyncio.to_thread(faults.inside.acquire, timeout=5)
    second = await post(client, "key-1", "Notes")
    faults.gate.set()

    assert second.status_code == 409
    assert second.json()["code"] == "StillRunning"
    assert (await first).status_code == 201
    assert titles(engine) == ["Notes"]


async def test_of_many_requests_at_once_one_does_the_work(toy: Toy, engine: sa.Engine) -> None:
    client, _ = toy

    responses = await asyncio.gather(*(post(client, "key-1", "Notes") for _ in range(20)))

    assert {response.status_code for response in responses} <= {201, 409}
    assert len({response.json().get("id") for response in responses} - {None}) == 1
    assert titles(engine) == ["Notes"]


async def test_more_requests_than_connections_wait_for_each_other(toy: Toy) -> None:
    client, _ = toy

    async with asyncio.timeout(10):
        responses = await asyncio.gather(
            *(post(client, f"key-{n}" if n % 3 else None, f"Note {n}") for n in range(40))
        )

    assert {response.status_code for response in responses} == {201}


@pytest.mark.parametrize(
    ("error", "status"), [(SimulatedConflict("Not this time"), 409), (RuntimeError("bug"), 500)]
)
async def test_a_failed_request_can_be_repeated(
    toy: Toy, engine: sa.Engine, error: Exception, status: int
) -> None:
    client, faults = toy
    faults.fails = error

    failed = await post(client, "key-1", "Notes")
    assert (failed.status_code, titles(engine)) == (status, [])

    faults.fails = None
    repeated = await post(client, "key-1", "Notes")

    assert repeated.status_code == 201
    assert "Idempotent-Replayed" not in repeated.headers
    assert titles(engine) == ["Notes"]


async def test_a_process_killed_in_the_middle_leaves_nothing(toy: Toy, engine: sa.Engine) -> None:
    client, faults = toy
    faults.gate.clear()
    first = asyncio.create_task(post(client, "key-1", "Notes"))
    await asyncio.to_thread(faults.inside.acquire, timeout=5)

    with engine.begin() as connection:  # for PostgreSQL, a kill -9 is the end of the connection
        connection.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND state = 'idle in transaction'"
            )
        )
    faults.gate.set()
    assert (await first).status_code in (500, 503)
    repeated = await post(client, "key-1", "Notes")

    assert repeated.status_code == 201
    assert "Idempotent-Replayed" not in repeated.headers
    assert titles(engine) == ["Notes"]


async def test_a_key_is_forgotten_after_a_day(toy: Toy, engine: sa.Engine) -> None:
    client, _ = toy
    await post(client, "young", "Young")
    await post(client, "old", "Old")
    age(engine, "young", hours=23)
    age(engine, "old", hours=25)

    young = await post(client, "young", "Young")
    old = await post(client, "old", "New")

    assert young.headers["Idempotent-Replayed"] == "true"
    assert old.status_code == 201
    assert "Idempotent-Replayed" not in old.headers
    assert titles(engine) == ["New", "Old", "Young"]


def age(engine: sa.Engine, key: str, *, hours: int) -> None:
    with engine.begin() as connection:
        created_at = sa.func.now() - sa.text(f"interval '{hours} hours'")
        connection.execute(sa.update(KEYS).where(KEYS.c.key == key).values(created_at=created_at))


async def test_an_upload_is_recognised_by_its_content_not_its_boundary(
    toy: Toy, engine: sa.Engine
) -> None:
    client, _ = toy
    headers = {"Idempotency-Key": "key-1"}

    async def upload(content: bytes, name: str = "a.txt", title: str = "A file") -> httpx.Response:
        return await client.post(
            "/files", files={"file": (name, content)}, data={"title": title}, headers=headers
        )

    first = await upload(b"content")
    again = await upload(b"content")
    others = [
        await upload(b"other content"),
        await upload(b"content", name="b.txt"),
        await upload(b"content", title="Another title"),
    ]

    assert first.json()["sha256"] == hashlib.sha256(b"content").hexdigest()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    assert [response.status_code for response in others] == [422] * 3
    assert titles(engine) == ["A file"]


async def test_an_ordinary_form_works_too(toy: Toy) -> None:
    client, _ = toy

    async def fill_in(title: str) -> httpx.Response:
        return await client.post(
            "/forms", data={"title": title}, headers={"Idempotency-Key": "key-1"}
        )

    first = await fill_in("A")
    again = await fill_in("A")
    other = await fill_in("B")

    assert first.status_code == 201
    assert again.headers["Idempotent-Replayed"] == "true"
    assert other.status_code == 422


@pytest.mark.parametrize("path", ["/notes", "/files", "/forms"])
@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "text/plain",
    ],
)
async def test_a_body_of_another_kind_is_refused(toy: Toy, path: str, kind: str) -> None:
    client, _ = toy

    response = await client.post(
        path, content=b"--x", headers={"Content-Type": kind, "Idempotency-Key": "key-1"}
    )

    assert response.status_code in (400, 422)


@pytest.mark.parametrize("key", ["", "x" * 256, "with space", b"\xfc", "tab\there"])
async def test_a_malformed_key_is_refused_by_name(toy: Toy, key: Any) -> None:
    client, _ = toy

    response = await client.post("/notes", json={"title": "x"}, headers={"Idempotency-Key": key})

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "idempotency-key"


async def test_a_key_of_maximum_length_is_accepted(toy: Toy) -> None:
    client, _ = toy

    assert (await post(client, "x" * 255, "Notes")).status_code == 201
