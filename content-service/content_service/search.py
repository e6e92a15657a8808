"""Full-text search: ranked results with the matching words marked, and suggestions of words.

Every match is found, but not all are ranked against each other: the newest 500 are, then the 500
before them, and so on. Ranking all matches among a million documents would take a second, and
people mostly look for what is new. Access is decided inside the query that finds the matches.
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
    HIGHEST_ID,
    LOWEST_ID,
    build_range,
    count_grantees,
    filter_visible,
    get_preceding_id,
    select_newest,
)
from .models import Document
from .schemas.documents import DocumentRead
from .schemas.search import SearchFilters

RANKED_WINDOW_SIZE = 500  # matches that are ranked against each other
TITLE_SAMPLE_SIZE = 500  # titles in which suggestions are counted
MIN_RECENT_SUGGESTIONS = 25  # with fewer occurrences in the newest titles, all are searched
MAX_SNIPPET_SOURCE_CHARACTERS = 20_000
WORD_PATTERN = re.compile(r"\w+")

RESULT_COLUMNS = [getattr(Document, name) for name in DocumentRead.model_fields]

# Control characters mark the words, since they are removed from the text first.
MARK_START = "\x01"
MARK_STOP = "\x02"
HEADLINE_OPTIONS = (
    f"StartSel={MARK_START}, StopSel={MARK_STOP}, MaxFragments=2, MaxWords=25, MinWords=8"
)
SNIPPET_SOURCE = func.left(
    func.coalesce(Document.body, Document.extracted, ""), MAX_SNIPPET_SOURCE_CHARACTERS
)


class SearchPosition(BaseModel):
    """Says where a page ended: in which window of matches, and after which of them.

    `bottom` is None when there were no older matches.
    """

    top: UUID
    bottom: UUID | None = None
    rank: float | None = Field(default=None, allow_inf_nan=False)
    last: UUID | None = None


POSITION_ADAPTER = TypeAdapter(SearchPosition)


def search_documents(
    connection: Connection,
    reader: User,
    filters: SearchFilters,
    page: PageParameters,
    window_size: int = RANKED_WINDOW_SIZE,
) -> dict[str, Any]:
    """Return a page of matches with `rank` and `snippet`, the best of each window first.

    At the end of a window a page may be shorter than its limit and still have a next one.
    """
    query = func.websearch_to_tsquery("english", filters.q)
    position = decode_cursor(POSITION_ADAPTER, page.cursor) if page.cursor else None
    conditions = build_conditions(query, filters)
    window = find_matches(connection, reader, conditions, position, window_size)
    rows = rank_matches(connection, query, window, position, page.limit + 1)
    items = [mark_snippet(row) for row in rows[: page.limit]]
    bottom = position and position.bottom
    if bottom is None and len(window) == window_size:
        bottom = window[-1]
    if len(rows) > page.limit:
        last = items[-1]
        after = SearchPosition(top=window[0], bottom=bottom, rank=last["rank"], last=last["id"])
    elif bottom:  # there may be older matches, even if this window has become smaller
        after = SearchPosition(top=get_preceding_id(bottom))
    else:
        return {"items": items, "next_cursor": None}
    return {"items": items, "next_cursor": encode_cursor(POSITION_ADAPTER, after)}


def build_conditions(query: Any, filters: SearchFilters) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [Document.search.bool_op("@@")(query)]
    if filters.tag:
        conditions.append(Document.tags.contains(filters.tag))
    if filters.type:
        conditions.append(Document.content_type == filters.type)
    if filters.owner:
        conditions.append(Document.owner_id == str(filters.owner))
    if filters.created_from:
        conditions.append(Document.created_at >= filters.created_from)
    if filters.created_before:
        conditions.append(Document.created_at < filters.created_before)
    return conditions


def find_matches(
    connection: Connection,
    reader: User,
    conditions: list[ColumnElement[bool]],
    position: SearchPosition | None,
    window_size: int,
) -> Sequence[UUID]:
    """Return the ids of a window of matches, the newest first."""
    top_id = position.top if position else HIGHEST_ID
    bottom_id = (position and position.bottom) or LOWEST_ID
    statement = select_newest([Document.id], count_grantees(reader), *conditions)
    parameters = build_range(reader, window_size, top_id, bottom_id)
    return connection.execute(statement, parameters).scalars().all()


def rank_matches(
    connection: Connection,
    query: Any,
    ids: Sequence[UUID],
    after: SearchPosition | None,
    limit: int,
) -> Sequence[RowMapping]:
    """Return the best of these documents that come after a position, with their snippets."""
    rank: ColumnElement[float] = cast(func.ts_rank(Document.search, query), Double)
    is_in_window = Document.id == any_(literal(ids, ARRAY(Uuid)))  # IN would be 500 parameters
    ranked = select(Document.id, rank.label("rank")).where(is_in_window)
    if after and after.rank is not None:
        ranked = ranked.where(tuple_(rank, Document.id) < tuple_(after.rank, after.last))
    top = ranked.order_by(rank.desc(), Document.id.desc()).limit(limit).subquery()
    source = func.translate(SNIPPET_SOURCE, MARK_START + MARK_STOP, "")
    snippet = func.ts_headline("english", source, query, HEADLINE_OPTIONS)
    columns = [*RESULT_COLUMNS, top.c.rank, snippet.label("snippet")]
    found = select(*columns).join(top, top.c.id == Document.id)
    return connection.execute(found.order_by(top.c.rank.desc(), top.c.id.desc())).mappings().all()


def mark_snippet(row: RowMapping) -> dict[str, Any]:
    """Escape the snippet as HTML, so that the marks of matching words are its only elements."""
    marked = escape(row["snippet"]).replace(MARK_START, "<mark>").replace(MARK_STOP, "</mark>")
    return {**row, "snippet": marked}


def suggest_words(connection: Connection, reader: User, prefix: str, limit: int) -> list[str]:
    """Return words of visible titles that begin with the prefix, the most frequent first.

    The newest titles decide what is frequent. If the word is rare among them, the index finds
    other titles, but not the newest first: sorting all matches of a short prefix takes seconds.
    """
    words = WORD_PATTERN.findall(prefix.lower())
    if not words:
        return []
    newest = select_newest([Document.title], count_grantees(reader))
    titles = connection.scalars(newest, build_range(reader, TITLE_SAMPLE_SIZE))
    found = count_words(titles, words[-1])
    if found.total() < MIN_RECENT_SUGGESTIONS:
        query = func.to_tsquery("simple", f"'{words[-1]}':*B")
        matching = select(Document.title).where(Document.search.bool_op("@@")(query))
        visible = filter_visible(matching.limit(TITLE_SAMPLE_SIZE), reader)
        found = count_words(connection.scalars(visible), words[-1])
    return [word for word, _ in found.most_common(limit)]


def count_words(titles: Iterable[str], prefix: str) -> Counter[str]:
    """Count the titles that contain each word with the prefix."""
    words = (word for title in titles for word in set(WORD_PATTERN.findall(title.lower())))
    return Counter(word for word in words if word.startswith(prefix))
