"""The read cache is used when it is current, and never otherwise."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from chassis.redis_client import RedisClient
from content_service.settings import settings

from .conftest import Caller, replace_state


@pytest.fixture
def store() -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.redis_url, decode_responses=True) as store:
        yield store


def get_key(document: dict[str, Any]) -> str:
    return f"content:cache:document_{document['id']}"


def get_entry(store: redis.Redis, document: dict[str, Any]) -> str:
    return str(store.get(get_key(document)))


def test_a_read_leaves_the_document_in_redis_for_a_while(
    author: Caller, store: redis.Redis
) -> None:
    document = author.create(body="Kept")

    first = author.read(document)

    assert "Kept" in get_entry(store, document)
    assert 0 < int(str(store.ttl(get_key(document)))) <= 3600
    second = author.read(document)
    assert (second.json(), second.headers["ETag"]) == (first.json(), first.headers["ETag"])


def test_the_next_read_comes_from_redis(author: Caller, store: redis.Redis) -> None:
    document = author.create(body="as the database has it")
    author.read(document)

    store.set(get_key(document), get_entry(store, document).replace("the database", "Redis"))

    assert author.read(document).json()["body"] == "as Redis has it"


def test_a_change_is_seen_although_redis_has_the_old_text(
    author: Caller, store: redis.Redis
) -> None:
    document = author.create(body="old")
    author.read(document)
    late = get_entry(store, document)

    author.change(document, body="new")
    assert author.read(document).json()["body"] == "new"
    store.set(get_key(document), late)  # as a slow reader fills it

    response = author.read(document)
    assert (response.json()["body"], response.headers["ETag"]) == ("new", '"2"')


def test_a_version_number_that_is_reused_is_not_mixed_up(
    author: Caller, store: redis.Redis
) -> None:
    """The database was restored from a backup, and Redis was not."""
    document = author.create(body="lost")
    author.read(document)

    number, rest = get_entry(store, document).split(" ", 1)
    store.set(
        get_key(document), f"{number} 2001-01-01T00:00:00+00:00\n{rest.partition(chr(10))[2]}"
    )

    assert author.read(document).json()["body"] == "lost"
    assert "2001-01-01" not in get_entry(store, document)


def test_a_cached_document_is_shown_only_to_users_who_may_see_it(
    author: Caller, reviewer: Caller, stranger: Caller, store: redis.Redis
) -> None:
    document = author.create()
    author.share(document, reviewer)
    reviewer.read(document)
    path = f"/documents/{document['id']}"

    assert stranger.read(document).status_code == 404
    author.delete(f"{path}/permissions/{reviewer.user_id}")
    assert reviewer.read(document).status_code == 404
    author.delete(path)
    assert author.read(document).status_code == 404
    assert store.exists(get_key(document))


def test_redis_is_not_read_for_a_user_who_may_not_see_the_document(
    author: Caller, stranger: Caller, store: redis.Redis
) -> None:
    document = author.create()
    author.read(document)
    before = store.info("commandstats")["cmdstat_get"]["calls"]

    assert stranger.read(document).status_code == 404
    assert store.info("commandstats")["cmdstat_get"]["calls"] == before

    author.read(document)
    assert store.info("commandstats")["cmdstat_get"]["calls"] == before + 1


@pytest.mark.parametrize("junk", ["", "\n", "1", "1 \n{}", "null", "{}", "é" * 100])
def test_junk_in_redis_is_ignored(author: Caller, store: redis.Redis, junk: str) -> None:
    document = author.create()
    store.set(get_key(document), junk)

    assert author.read(document).json() == document
    assert author.read(document).json() == document


def test_reads_work_without_redis(author: Caller) -> None:
    document = author.create(body="first")
    author.read(document)

    nowhere = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    with replace_state("redis", RedisClient(nowhere)):
        assert author.read(document).json() == document
        changed = author.change(document, body="second").json()
        assert author.read(document).json() == changed

    assert author.read(document).json() == changed
