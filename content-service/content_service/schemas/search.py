"""Search: filters, results and suggestions."""

from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from chassis.schemas import ResponseModel, Text

from .documents import DocumentRead
from .fields import Tags

SearchWords = Annotated[Text, Field(min_length=1, max_length=200)]
ContentType = Annotated[Text, Field(max_length=100)]


class SearchFilters(BaseModel):
    """Narrows a search: a document must match every filter that is given."""

    q: SearchWords
    tag: Tags = Field(default=[], description="Repeat it to find documents with all these tags.")
    type: ContentType | None = Field(
        default=None, description="A content type, such as application/pdf."
    )
    owner: UUID | None = None
    created_from: AwareDatetime | None = None
    created_before: AwareDatetime | None = None


class SearchResult(DocumentRead):
    rank: float
    snippet: str = Field(description="Escaped HTML; the matching words are in <mark> elements.")


class Suggestions(ResponseModel):
    items: list[str]
