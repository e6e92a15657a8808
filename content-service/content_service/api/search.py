"""Search: documents by the words of their titles and texts, those of uploaded files included."""

from typing import Annotated

from fastapi import Depends, Query, Response

from chassis.pagination import Page, PageRequest
from chassis.routing import APIRouter

from .. import search
from ..database import connect_autocommit
from ..schemas.documents import SearchFilters, SearchResult, SearchWords, Suggestions
from .dependencies import Reader
from .documents import render_json

router = APIRouter(prefix="/search", tags=["Search"])


async def get_window_size() -> int:
    return search.RANKED_WINDOW_SIZE


WindowSize = Annotated[int, Depends(get_window_size)]


@router.get("", response_model=Page[SearchResult])
def search_documents(
    filters: Annotated[SearchFilters, Query()], reader: Reader, page: PageRequest, size: WindowSize
) -> Response:
    """Find documents by their words, best matches first; understands "quotes", or, and -word.

    The newest 500 matches are ranked together, then the 500 before them, and so on. A page at the
    end of such a group may be short or empty and still have a next_cursor.
    """
    with connect_autocommit() as connection:
        return render_json(search.search_documents(connection, reader, filters, page, size))


@router.get("/suggestions")
def suggest_words(
    q: Annotated[SearchWords, Query(description="Its last word is completed.")],
    reader: Reader,
    limit: Annotated[int, Query(ge=1, le=20, description="How many words to return.")] = 10,
) -> Suggestions:
    """Complete a word with words from the titles of documents the caller may see."""
    with connect_autocommit() as connection:
        return Suggestions(items=search.suggest_words(connection, reader, q, limit))
