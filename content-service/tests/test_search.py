"""Search over titles and texts."""

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from content_service.api.search import get_window_size
from content_service.database import engine
from content_service.main import app
from content_service.models import Document

from .conftest import Caller

SetWindowSize = Callable[[int], None]


@pytest.fixture
def set_window_size() -> Iterator[SetWindowSize]:
    def set_size(size: int) -> None:
        app.dependency_overrides[get_window_size] = lambda: size

    yield set_size
    app.dependency_overrides.clear()


def search_documents(caller: Caller, words: str, **filters: Any) -> list[dict[str, Any]]:
    response = caller.get("/search", params={"q": words, **filters})
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items


def search_titles(caller: Caller, words: str, **filters: Any) -> list[str]:
    return [item["title"] for item in search_documents(caller, words, **filters)]


def test_words_are_found_in_titles_and_texts_in_any_form(author: Caller) -> None:
    author.create(title="Contracts", body="")
    author.create(title="Letter", body="We contracted the millers.")
    author.create(title="Recipe", body="Flour and water")

    assert search_titles(author, "contract") == ["Contracts", "Letter"]
    assert search_titles(author, "CONTRACTING miller") == ["Letter"]
    assert search_titles(author, '"flour and water"') == ["Recipe"]
    assert search_titles(author, "flour or miller") == ["Recipe", "Letter"]
    assert search_titles(author, "contract -miller") == ["Contracts"]
    assert search_titles(author, "absent") == []


def test_a_changed_document_is_found_by_its_new_words_only(author: Caller) -> None:
    document = author.create(title="Plan", body="hydraulics")

    author.change(document, body="carpentry")

    assert search_titles(author, "hydraulics") == []
    assert search_titles(author, "carpentry") == ["Plan"]


def test_better_matches_come_first_and_equal_ones_newest_first(author: Caller) -> None:
    author.create(title="Sluice", body="of the sluice: a sluice gate")
    author.create(title="Old aside", body="There was a sluice")
    author.create(title="New aside", body="There was a sluice")

    best = search_documents(author, "sluice")

    assert [match["title"] for match in best] == ["Sluice", "New aside", "Old aside"]
    assert best[0]["rank"] > best[1]["rank"] == best[2]["rank"] > 0


def read_pages(caller: Caller, words: str, limit: int) -> list[list[str]]:
    titles = []
    cursor = None
    while True:
        page = caller.get("/search", params={"q": words, "limit": limit, "cursor": cursor or ""})
        titles.append([item["title"] for item in page.json()["items"]])
        cursor = page.json()["next_cursor"]
        if cursor is None:
            return titles


@pytest.mark.parametrize("window", [500, 4, 3])
def test_pages_hold_every_match_once_though_others_come_and_go(
    author: Caller, window: int, set_window_size: SetWindowSize
) -> None:
    """The newest matches are ranked first, then the ones before them."""
    set_window_size(window)
    bodies = ["sluice", "sluice " * 3, "sluice " * 9]
    made = [author.create(title=str(n), body=bodies[n % 3]) for n in range(7)]
    first = author.get("/search?q=sluice&limit=2").json()
    author.create(title="Newest", body="sluice " * 20)
    author.delete(f"/documents/{made[0]['id']}")

    second = author.get(f"/search?q=sluice&limit=2&cursor={first['next_cursor']}").json()
    shown = [item["title"] for item in first["items"] + second["items"]]
    while second["next_cursor"]:
        path = f"/search?q=sluice&limit=2&cursor={second['next_cursor']}"
        second = author.get(path).json()
        shown += [item["title"] for item in second["items"]]

    assert sorted(shown) == ["1", "2", "3", "4", "5", "6"]
    if window == 500:
        assert shown == ["5", "2", "4", "1", "6", "3"]


def test_older_matches_follow_though_a_newer_one_went(
    author: Caller, set_window_size: SetWindowSize
) -> None:
    set_window_size(4)
    made = [author.create(title=f"Leat {n}") for n in range(6)]
    page = author.get("/search?q=leat&limit=2").json()
    author.delete(f"/documents/{made[2]['id']}")

    shown = []
    while page["next_cursor"]:
        page = author.get(f"/search?q=leat&limit=2&cursor={page['next_cursor']}").json()
        shown += [item["title"] for item in page["items"]]

    assert shown == ["Leat 3", "Leat 1", "Leat 0"]


def test_documents_of_others_take_no_place_among_the_ranked(
    author: Caller, reviewer: Caller, stranger: Caller, set_window_size: SetWindowSize
) -> None:
    set_window_size(4)
    mine = [author.create(title=f"Culvert {n}") for n in range(3)]
    shared = reviewer.create(title="Culvert shared")
    reviewer.share(shared, author)
    for other in (reviewer, stranger):
        for _ in range(6):
            other.create(title="Culvert of others")

    first = author.get("/search?q=culvert&limit=4").json()["items"]

    assert {item["id"] for item in first} == {document["id"] for document in [*mine, shared]}


def test_pages_end(author: Caller, set_window_size: SetWindowSize) -> None:
    set_window_size(2)
    for number in range(4):
        author.create(title=f"Weir {number}")

    assert read_pages(author, "weir", 2) == [["Weir 3", "Weir 2"], ["Weir 1", "Weir 0"], []]
    assert read_pages(author, "absent", 2) == [[]]


def test_a_snippet_marks_what_was_found_and_is_safe_to_show(author: Caller) -> None:
    body = "Before the mills <b>closed</b> & \x01fell, a <script>alert('mill')</script> milling."

    author.create(title="Tale", body=body)

    snippet = search_documents(author, "mill")[0]["snippet"]
    assert "<mark>mills</mark>" in snippet and "<mark>milling</mark>" in snippet
    assert "&amp;" in snippet
    assert "<" not in snippet.replace("<mark>", "").replace("</mark>", "")
    assert "\x01" not in snippet


def test_filters_narrow_what_is_found(author: Caller, reviewer: Caller) -> None:
    author.create(title="One", body="weir", tags=["a", "b"])
    author.create(title="Two", body="weir", tags=["b"])
    author.upload(b"weir", "weir.md", title="Weir three")
    reviewer.share(reviewer.create(title="Four", body="weir"), author)

    assert search_titles(author, "weir", tag="b") == ["Two", "One"]
    assert search_titles(author, "weir", tag=["a", "b"]) == ["One"]
    assert search_titles(author, "weir", type="text/markdown") == ["Weir three"]
    assert search_titles(author, "weir", owner=reviewer.user_id) == ["Four"]
    assert search_titles(author, "weir", owner=author.user_id, type="text/plain") == ["Two", "One"]


def test_dates_narrow_what_is_found(author: Caller) -> None:
    old = author.create(title="Old", body="weir")
    author.create(title="New", body="weir")
    yesterday = datetime.now(UTC) - timedelta(days=1)
    with engine.begin() as connection:
        row = update(Document).where(Document.id == old["id"])
        connection.execute(row.values(created_at=yesterday))

    assert search_titles(author, "weir", created_from=old["created_at"]) == ["New"]
    assert search_titles(author, "weir", created_before=old["created_at"]) == ["Old"]
    assert search_titles(author, "weir", created_from=yesterday.isoformat()) == ["New", "Old"]


def test_a_time_of_search_may_have_any_offset(author: Caller) -> None:
    found = search_titles(author, "weir", created_from="1761-01-06T04:51:52-16:31")

    assert found == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("owner", "me"), ("created_from", "today"), ("created_before", "2026-11-01"), ("tag", ""),
     ("type", "x" * 101), ("limit", "0"), ("cursor", "x"), ("cursor", "e30")],
)  # fmt: skip
def test_an_invalid_filter_is_422(author: Caller, name: str, value: str) -> None:
    response = author.get("/search", params={"q": "x", name: value})

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"].startswith(name)


def test_words_are_suggested_from_titles_by_how_they_begin(author: Caller) -> None:
    author.create(title="Running the mill race", body="millions")
    author.create(title="The Miller's tale")
    author.create(title="A mill race, and another mill")

    def suggested(beginning: str) -> list[str]:
        response = author.get("/search/suggestions", params={"q": beginning})
        return list(response.json()["items"])

    assert suggested("mil") == ["mill", "miller"]
    assert suggested("closing the RA") == ["race"]
    assert suggested("runni") == ["running"]
    assert suggested("zz") == suggested("'") == suggested("mil:* | zz") == []


def test_words_of_invisible_documents_are_not_suggested(author: Caller, stranger: Caller) -> None:
    document = author.create(title="Palimpsest")
    assert stranger.get("/search/suggestions?q=pali").json()["items"] == []

    author.share(document, stranger)

    assert stranger.get("/search/suggestions?q=pali").json()["items"] == ["palimpsest"]


def test_users_find_their_own_documents(author: Caller, stranger: Caller) -> None:
    author.create(title="Ledger of the first")
    stranger.create(title="Ledger of the second")

    assert search_titles(author, "ledger") == ["Ledger of the first"]
    assert search_titles(stranger, "ledger") == ["Ledger of the second"]


@pytest.mark.parametrize("query", ["", "?q=", "?q=%00", f"?q={'x' * 201}"])
def test_invalid_words_are_422(author: Caller, query: str) -> None:
    response = author.get(f"/search{query}")

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "q"


@pytest.mark.parametrize("words", ["the", "'", "a:*", "!!", "((", "\\", "' OR 1=1 --", "🦀", "%"])
def test_no_words_break_the_search(author: Caller, words: str) -> None:
    author.create()

    assert author.get("/search", params={"q": words}).status_code == 200


def test_a_text_of_nothing_but_different_words_is_kept_and_found(author: Caller) -> None:
    """The whole text exceeds PostgreSQL's limit, so only its beginning is indexed."""
    alphabet = [chr(0x4E00 + n) for n in range(100)]
    words = ("".join(word) for word in itertools.product(alphabet, repeat=3))
    body = "-".join(itertools.islice(words, 80_000))

    document = author.create(title="Hostile", body="penstock " + body[:330_000])

    assert search_titles(author, "penstock") == ["Hostile"]
    assert author.read(document).json()["body"] == document["body"]
