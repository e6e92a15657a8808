"""Search: documents by their words, and words by their beginning."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from chassis.pagination import Page, PageRequest

from .. import search
from ..schemas import SearchFilters, SearchResult, SearchWords, Suggestions
from ..statements import connect_autocommit
from .dependencies import Reader
from .documents import render_json

router = APIRouter(prefix="/search")


@router.get("", response_model=Page[SearchResult])
def search_documents(
    filters: Annotated[SearchFilters, Query()], reader: Reader, page: PageRequest
) -> Response:
    """The documents the caller may see that hold the words, best first; takes "quotes", or, -.

    The newest 500 matches are ranked together and older ones follow, 500 by 500; so a page may be
    short and have a next_cursor all the same.
    """
    with connect_autocommit() as connection:
        return render_json(search.search_documents(connection, reader, filters, page))


@router.get("/suggestions")
def suggest_words(
    q: Annotated[SearchWords, Query()],
    reader: Reader,
    limit: Annotated[int, Query(ge=1, le=20)] = 10,
) -> Suggestions:
    """Words that begin so, from the titles of documents the caller may see."""
    with connect_autocommit() as connection:
        return Suggestions(items=search.suggest_words(connection, reader, q, limit))
