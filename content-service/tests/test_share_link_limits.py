"""Share links: how often they open, until when, and how guesses are limited."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from fastapi.testclient import TestClient

from .conftest import Caller
from .test_share_links import create_link, open_link, update_link


def test_the_fourth_use_of_three_is_410(client: TestClient, author: Caller) -> None:
    link = create_link(author, author.create(), max_uses=3)

    answers = [open_link(client, link).status_code for _ in range(4)]

    assert answers == [200, 200, 200, 410]


def test_a_failed_download_is_not_counted_as_a_use(client: TestClient, author: Caller) -> None:
    link = create_link(author, author.create(body="Short"), max_uses=1)
    params = {"token": link["token"]}

    beyond = client.get("/shared", params=params, headers={"Range": "bytes=100-"})
    part = client.get("/shared", params=params, headers={"Range": "bytes=1-2"})

    assert (beyond.status_code, part.status_code, part.text) == (416, 206, "ho")
    assert open_link(client, link).status_code == 410


def test_parallel_uses_are_never_more_than_allowed(client: TestClient, author: Caller) -> None:
    document = author.create()
    link = create_link(author, document, max_uses=5)

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: open_link(client, link).status_code, range(20)))

    assert sorted(answers) == [200] * 5 + [410] * 15
    (listed,) = author.get(f"/documents/{document['id']}/share-links").json()["items"]
    assert listed["uses"] == 5


def test_an_expired_link_is_410(client: TestClient, author: Caller) -> None:
    soon = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    link = create_link(author, author.create(), expires_at=soon)
    assert open_link(client, link).status_code == 200

    update_link(link, expires_at=datetime.now(UTC) - timedelta(seconds=1))

    assert open_link(client, link).json()["code"] == "ShareLinkEnded"


def test_a_revoked_link_is_410_at_once(client: TestClient, author: Caller) -> None:
    document = author.create()
    link = create_link(author, document)
    path = f"/documents/{document['id']}/share-links/{link['id']}"

    assert author.delete(path).status_code == 204

    assert open_link(client, link).status_code == 410
    assert author.delete(path).status_code == 204
    other = author.create()
    elsewhere = f"/documents/{other['id']}/share-links/{link['id']}"
    assert author.delete(elsewhere).json()["code"] == "UnknownShareLink"


def test_parallel_guesses_are_stopped_for_the_minute(client: TestClient, author: Caller) -> None:
    link = create_link(author, author.create(), password="correct horse")

    with ThreadPoolExecutor(10) as threads:
        guesses = threads.map(lambda n: open_link(client, link, f"guess {n}"), range(20))
        answers = [guess.status_code for guess in guesses]

    assert sorted(answers) == [401] * 10 + [429] * 10
    blocked = open_link(client, link, "correct horse")
    assert (blocked.status_code, blocked.headers["Retry-After"]) == (429, "60")

    update_link(link, minute=datetime.now(UTC) - timedelta(minutes=2))

    assert open_link(client, link, "correct horse").status_code == 200


def test_a_link_without_a_password_has_a_limit_too(client: TestClient, author: Caller) -> None:
    link = create_link(author, author.create())
    update_link(link, tries=60, minute=datetime.now(UTC))

    assert open_link(client, link).status_code == 429
