"""Full-text search: ranked results with the matching words marked, and suggestions of words.

Ranks the newest 500 matches against each other, then the 500 before them, and so on: to rank all
matches among a million documents takes a second, and people mostly look for what is new.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from pydantic import BaseModel, Field, TypeAdapter

from chassis.auth import User
from chassis.pagination import PageParameters, decode_cursor, encode_cursor

from . import access
from .models import Document
from .schemas.documents import DocumentRead, SearchFilters

RANKED_WINDOW_SIZE = 500  # matches that are ranked against each other
TITLE_SAMPLE_SIZE = 500  # titles in which suggestions are counted
MIN_RECENT_SUGGESTIONS = 25  # with fewer occurrences in the newest titles, all are searched
MAX_SNIPPET_SOURCE_CHARACTERS = 20_000
WORD_PATTERN = re.compile(r"\w+")

RESULT_COLUMNS = [getattr(Document, name) for name in DocumentRead.model_fields]

# Control characters mark the words, since they are removed from the text first.
MARK_START = "\x01"
MARK_STOP = "\x02"
MARKS = f"StartSel={MARK_START}, StopSel={MARK_STOP}"
HEADLINE_OPTIONS = f"{MARKS}, MaxFragments=2, MaxWords=25, MinWords=8"
FULL_TEXT = sa.func.coalesce(Document.body, Document.extracted, "")
SNIPPET_SOURCE = sa.func.left(FULL_TEXT, MAX_SNIPPET_SOURCE_CHARACTERS)


class Position(BaseModel):
    """Says where a page ended: in which window of matches, and after which of them."""

    top: UUID
    bottom: UUID | None = None  # None when there were no older matches
    rank: float | None = Field(default=None, allow_inf_nan=False)
    last: UUID | None = None


POSITION_ADAPTER = TypeAdapter(Position)


def search_documents(
    connection: sa.Connection, reader: User, filters: SearchFilters, page: PageParameters, size: int
) -> dict[str, Any]:
    """Return a page of matches with `rank` and `snippet`, the best of each window first."""
    query = sa.func.websearch_to_tsquery("english", filters.q)
    position = decode_cursor(POSITION_ADAPTER, page.cursor) if page.cursor else None
    conditions = build_conditions(query, filters)
    window = find_matches(connection, reader, conditions, position, size)
    rows = rank_matches(connection, query, window, position, page.limit + 1)
    items = [mark_snippet(row) for row in rows[: page.limit]]
    bottom = position and position.bottom
    if bottom is None and len(window) == size:
        bottom = window[-1]
    if len(rows) > page.limit:
        last = items[-1]
        after = Position(top=window[0], bottom=bottom, rank=last["rank"], last=last["id"])
    elif bottom:  # there may be older matches, even if this window has become smaller
        after = Position(top=access.get_preceding_id(bottom))
    else:
        return {"items": items, "next_cursor": None}
    return {"items": items, "next_cursor": encode_cursor(POSITION_ADAPTER, after)}


def build_conditions(query: Any, filters: SearchFilters) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [Document.search.bool_op("@@")(query)]
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
    connection: sa.Connection,
    reader: User,
    conditions: list[sa.ColumnElement[bool]],
    position: Position | None,
    window_size: int,
) -> Sequence[UUID]:
    """Return the ids of a window of matches, the newest first."""
    top_id = position.top if position else access.HIGHEST_ID
    bottom_id = (position and position.bottom) or access.LOWEST_ID
    statement = access.select_newest([Document.id], access.count_grantees(reader), *conditions)
    parameters = access.build_range(reader, window_size, top_id, bottom_id)
    return connection.execute(statement, parameters).scalars().all()


def rank_matches(
    connection: sa.Connection, query: Any, ids: Sequence[UUID], after: Position | None, limit: int
) -> Sequence[sa.RowMapping]:
    """Return the best of these documents that come after a position, with their snippets."""
    rank: sa.ColumnElement[float] = sa.cast(sa.func.ts_rank(Document.search, query), sa.Double)
    window = sa.literal(ids, sa.ARRAY(sa.Uuid))  # IN would be 500 parameters
    ranked = sa.select(Document.id, rank.label("rank")).where(Document.id == sa.any_(window))
    if after and after.rank is not None:
        ranked = ranked.where(sa.tuple_(rank, Document.id) < sa.tuple_(after.rank, after.last))
    top = ranked.order_by(rank.desc(), Document.id.desc()).limit(limit).subquery()
    source = sa.func.translate(SNIPPET_SOURCE, MARK_START + MARK_STOP, "")
    snippet = sa.func.ts_headline("english", source, query, HEADLINE_OPTIONS)
    columns = [*RESULT_COLUMNS, top.c.rank, snippet.label("snippet")]
    found = sa.select(*columns).join(top, top.c.id == Document.id)
    return connection.execute(found.order_by(top.c.rank.desc(), top.c.id.desc())).mappings().all()


def mark_snippet(row: sa.RowMapping) -> dict[str, Any]:
    """Escape the snippet as HTML, so that the marks of matching words are its only elements."""
    marked = escape(row["snippet"]).replace(MARK_START, "<mark>").replace(MARK_STOP, "</mark>")
    return {**row, "snippet": marked}


def suggest_words(connection: sa.Connection, reader: User, prefix: str, limit: int) -> list[str]:
    """Return words of visible titles that begin with the prefix, the most frequent first.

    The newest titles decide what is frequent. If the word is rare among them, the index finds
    other titles, but not the newest first: sorting all matches of a short prefix takes seconds.
    """
    words = WORD_PATTERN.findall(prefix.lower())
    if not words:
        return []
    newest = access.select_newest([Document.title], access.count_grantees(reader))
    titles = connection.scalars(newest, access.build_range(reader, TITLE_SAMPLE_SIZE))
    found = count_words(titles, words[-1])
    if found.total() < MIN_RECENT_SUGGESTIONS:
        query = sa.func.to_tsquery("simple", f"'{words[-1]}':*B")
        matching = sa.select(Document.title).where(Document.search.bool_op("@@")(query))
        visible = access.filter_visible(matching.limit(TITLE_SAMPLE_SIZE), reader)
        found = count_words(connection.scalars(visible), words[-1])
    return [word for word, _ in found.most_common(limit)]


def count_words(titles: Iterable[str], prefix: str) -> Counter[str]:
    """Count the titles that contain each word with the prefix."""
    words = (word for title in titles for word in set(WORD_PATTERN.findall(title.lower())))
    return Counter(word for word in words if word.startswith(prefix))
