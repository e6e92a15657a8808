"""Finding documents by their words: ranked, with the places marked, page by page.

Every match is found, but not all are ranked against each other: the newest five hundred are, then
the five hundred before them, and so on. To rank all of a million would take a second, and the
newest are what people look for. Who may see a document is part of the query, before all of that.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field, TypeAdapter
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Double,
    RowMapping,
    Uuid,
    any_,
    cast,
    func,
    literal,
    select,
    tuple_,
)

from chassis.auth import User
from chassis.pagination import PageParameters, decode_cursor, encode_cursor

from .access import (
    LOWEST_ID,
    filter_visible,
    get_preceding_id,
    names_of,
    select_newest_visible,
    span,
)
from .models import Document
from .schemas import DocumentRead, SearchFilters

RANKED_WINDOW_SIZE = 500  # matches that are ranked against each other
MIN_RECENT_SUGGESTIONS = 25  # matches in one window: what has fewer is looked for in all titles
MAX_SNIPPET_SOURCE_CHARACTERS = 20_000  # characters in which a snippet is looked for
WORD_PATTERN = re.compile(r"\w+")

RESULT_COLUMNS = [getattr(Document, name) for name in DocumentRead.model_fields]

# Characters that no text can smuggle in: they are taken out of it first.
MARK_START, MARK_STOP = "\x01", "\x02"
HEADLINE_OPTIONS = (
    f"StartSel={MARK_START}, StopSel={MARK_STOP}, MaxFragments=2, MaxWords=25, MinWords=8"
)
SNIPPET_SOURCE = func.left(
    func.coalesce(Document.body, Document.extracted, ""), MAX_SNIPPET_SOURCE_CHARACTERS
)


class SearchPosition(BaseModel):
    """Where a page ended: the window of matches, both ends included, and the last one shown.

    Without a bottom there were no older matches.
    """

    top: UUID
    bottom: UUID | None = None
    rank: float | None = Field(default=None, allow_inf_nan=False)
    last: UUID | None = None


POSITION_ADAPTER = TypeAdapter(SearchPosition)


def search_documents(
    connection: Connection, reader: User, filters: SearchFilters, page: PageParameters
) -> dict[str, Any]:
    """The page of matches with `rank` and `snippet`, best first within each window.

    At the end of a window a page may be shorter than its limit, although there is a next one.
    """
    query = func.websearch_to_tsquery("english", filters.q)
    position = decode_cursor(POSITION_ADAPTER, page.cursor) if page.cursor else None
    window = find_matches(connection, reader, build_conditions(query, filters), position)
    rows = rank_matches(connection, query, window, position, page.limit + 1)
    items = [mark_snippet(row) for row in rows[: page.limit]]
    after = get_next_position(position, window, items, is_full=len(rows) > page.limit)
    return {
        "items": items,
        "next_cursor": encode_cursor(POSITION_ADAPTER, after) if after else None,
    }


def build_conditions(query: Any, filters: SearchFilters) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [Document.search.bool_op("@@")(query)]
    if filters.tag:
        found.append(Document.tags.contains(filters.tag))
    if filters.type:
        found.append(Document.content_type == filters.type)
    if filters.owner:
        found.append(Document.owner_id == str(filters.owner))
    if filters.created_from:
        found.append(Document.created_at >= filters.created_from)
    if filters.created_before:
        found.append(Document.created_at < filters.created_before)
    return found


def find_matches(
    connection: Connection, reader: User, where: list[Any], position: SearchPosition | None
) -> Sequence[UUID]:
    """The newest documents that match, newest first."""
    ends = (position.top, position.bottom or LOWEST_ID) if position else ()
    statement = select_newest_visible(names_of(reader), [Document.id], *where)
    return connection.execute(statement, span(reader, RANKED_WINDOW_SIZE, *ends)).scalars().all()


def rank_matches(
    connection: Connection,
    query: Any,
    ids: Sequence[UUID],
    after: SearchPosition | None,
    limit: int,
) -> Sequence[RowMapping]:
    rank: ColumnElement[float] = cast(func.ts_rank(Document.search, query), Double)
    is_in_window = Document.id == any_(literal(ids, ARRAY(Uuid)))  # IN would be 500 parameters
    ranked = select(Document.id, rank.label("rank")).where(is_in_window)
    if after and after.rank is not None:
        ranked = ranked.where(tuple_(rank, Document.id) < tuple_(after.rank, after.last))
    top = ranked.order_by(rank.desc(), Document.id.desc()).limit(limit).subquery()
    snippet = func.ts_headline(
        "english",
        func.translate(SNIPPET_SOURCE, MARK_START + MARK_STOP, ""),
        query,
        HEADLINE_OPTIONS,
    )
    columns = [*RESULT_COLUMNS, top.c.rank, snippet.label("snippet")]
    found = select(*columns).join(top, top.c.id == Document.id)
    return connection.execute(found.order_by(top.c.rank.desc(), top.c.id.desc())).mappings().all()


def mark_snippet(row: RowMapping) -> dict[str, Any]:
    """The snippet is HTML in which nothing is marked up but the words that were found."""
    marked = escape(row["snippet"]).replace(MARK_START, "<mark>").replace(MARK_STOP, "</mark>")
    return {**row, "snippet": marked}


def get_next_position(
    position: SearchPosition | None,
    window: Sequence[UUID],
    items: list[dict[str, Any]],
    *,
    is_full: bool,
) -> SearchPosition | None:
    """`bottom` is set where there may be older matches: also if the window has fewer by now."""
    bottom = position and position.bottom
    if bottom is None and len(window) == RANKED_WINDOW_SIZE:
        bottom = window[-1]
    if is_full:
        last = items[-1]
        return SearchPosition(top=window[0], bottom=bottom, rank=last["rank"], last=last["id"])
    return SearchPosition(top=get_preceding_id(bottom)) if bottom else None


def suggest_words(connection: Connection, reader: User, prefix: str, limit: int) -> list[str]:
    """Words that begin so, the most frequent first, from titles that the reader may see.

    What is frequent is so among the newest titles. Only of the rest the index is asked, for some
    titles and not for the newest: to gather all matches of a short prefix would take seconds.
    """
    words = WORD_PATTERN.findall(prefix.lower())
    if not words:
        return []
    titles = connection.scalars(
        select_newest_visible(names_of(reader), [Document.title]), span(reader, RANKED_WINDOW_SIZE)
    )
    found = count_words(titles, words[-1])
    if found.total() < MIN_RECENT_SUGGESTIONS:
        query = func.to_tsquery("simple", f"'{words[-1]}':*B")
        some = (
            select(Document.title)
            .where(Document.search.bool_op("@@")(query))
            .limit(RANKED_WINDOW_SIZE)
        )
        found = count_words(connection.scalars(filter_visible(some, reader)), words[-1])
    return [word for word, _ in found.most_common(limit)]


def count_words(titles: Iterable[str], prefix: str) -> Counter[str]:
    """How many titles have each word with the prefix."""
    words = (word for title in titles for word in set(WORD_PATTERN.findall(title.lower())))
    return Counter(word for word in words if word.startswith(prefix))
