"""Search over titles and texts."""

import itertools

import pytest

from .conftest import Caller


def found(caller: Caller, words: str) -> list[str]:
    items = caller.get("/search", params={"q": words}).json()["items"]
    return [item["title"] for item in items]


def test_words_are_found_in_titles_and_texts_in_any_form(author: Caller) -> None:
    author.create(title="Contracts", body="")
    author.create(title="Letter", body="We contracted the millers.")
    author.create(title="Recipe", body="Flour and water")

    assert found(author, "contract") == ["Letter", "Contracts"]
    assert found(author, "CONTRACTING miller") == ["Letter"]
    assert found(author, '"flour and water"') == ["Recipe"]
    assert found(author, "flour or miller") == ["Recipe", "Letter"]
    assert found(author, "contract -miller") == ["Contracts"]
    assert found(author, "absent") == []


def test_a_changed_document_is_found_by_its_new_words_only(author: Caller) -> None:
    document = author.create(title="Plan", body="hydraulics")

    author.change(document, body="carpentry")

    assert found(author, "hydraulics") == []
    assert found(author, "carpentry") == ["Plan"]


def test_matches_come_newest_first_in_pages(author: Caller) -> None:
    for number in range(5):
        author.create(title=f"Sluice {number}")

    first = author.get("/search?q=sluice&limit=2").json()
    second = author.get(f"/search?q=sluice&limit=2&cursor={first['next_cursor']}").json()

    titles = [item["title"] for item in first["items"] + second["items"]]
    assert titles == ["Sluice 4", "Sluice 3", "Sluice 2", "Sluice 1"]


def test_everybody_finds_their_own(author: Caller, stranger: Caller) -> None:
    author.create(title="Ledger of the first")
    stranger.create(title="Ledger of the second")

    assert found(author, "ledger") == ["Ledger of the first"]
    assert found(stranger, "ledger") == ["Ledger of the second"]


@pytest.mark.parametrize("query", ["", "?q=", "?q=%00", f"?q={'x' * 201}"])
def test_words_that_are_none_are_422(author: Caller, query: str) -> None:
    response = author.get(f"/search{query}")

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "q"


@pytest.mark.parametrize("words", ["the", "'", "a:*", "!!", "((", "\\", "' OR 1=1 --", "🦀", "%"])
def test_no_words_break_the_search(author: Caller, words: str) -> None:
    author.create()

    assert author.get("/search", params={"q": words}).status_code == 200


def test_a_text_of_nothing_but_different_words_is_kept_and_found(author: Caller) -> None:
    """Its index would be over PostgreSQL's limit, so only the beginning is in it."""
    alphabet = [chr(0x4E00 + n) for n in range(100)]
    words = ("".join(word) for word in itertools.product(alphabet, repeat=3))
    body = "-".join(itertools.islice(words, 80_000))

    document = author.create(title="Hostile", body="penstock " + body[:330_000])

    assert found(author, "penstock") == ["Hostile"]
    assert author.read(document).json()["body"] == document["body"]
