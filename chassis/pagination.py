"""Keyset pagination: page 10,000 costs as much as page 1."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Annotated, Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from fastapi import Depends, Query
from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, TypeAdapter
from sqlalchemy import Select, Uuid, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from .errors import Unprocessable
from .schemas import Text

Item = TypeVar("Item")

# The values that PostgreSQL can compare with a column: a cursor may be forged.
Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]
UuidText = Annotated[str, AfterValidator(lambda text: str(UUID(text)))]  # of a Uuid(as_uuid=False)
CURSOR_TYPES: dict[type, Any] = {str: Text, int: Int64, datetime: AwareDatetime}


class Page(BaseModel, Generic[Item]):
    items: list[Item]
    next_cursor: str | None = Field(description="The `cursor` of the next page; null at the end.")


class PageParameters(NamedTuple):
    """Holds `?limit=&cursor=`; the cursor is the `next_cursor` of the previous page."""

    limit: int
    cursor: str | None


async def parse_page_parameters(
    limit: Annotated[int, Query(ge=1, le=100, description="How many items to return.")] = 50,
    cursor: Annotated[
        str | None, Query(max_length=500, description="The `next_cursor` of the previous page.")
    ] = None,
) -> PageParameters:
    return PageParameters(limit, cursor)


PageRequest = Annotated[PageParameters, Depends(parse_page_parameters)]


def paginate(
    session: Session,
    statement: Select[*tuple[Any, ...]],
    request: PageParameters,
    *columns: InstrumentedAttribute[Any],
    oldest_first: bool = False,
) -> dict[str, Any]:
    """Return one page, ordered by columns that are unique together, descending by default.

    Rows of one ORM object become that object. With an AsyncSession: `session.run_sync(paginate)`.
    Raises Unprocessable for a cursor that did not come from this list.
    """
    kinds: Any = tuple[tuple(get_cursor_type(column) for column in columns)]  # type: ignore[misc]
    position: TypeAdapter[Any] = TypeAdapter(kinds)
    if request.cursor:
        row = tuple_(*columns)
        last = tuple_(*decode_cursor(position, request.cursor))
        statement = statement.where(row > last if oldest_first else row < last)
    order = columns if oldest_first else [column.desc() for column in columns]
    ordered = statement.order_by(*order)
    # One row more tells whether there is a next page.
    rows = session.execute(ordered.limit(request.limit + 1)).all()
    items = [row[0] if len(row) == 1 else row for row in rows[: request.limit]]
    cursor = None
    if len(rows) > request.limit:
        cursor = encode_cursor(position, tuple(getattr(items[-1], c.key) for c in columns))
    return {"items": items, "next_cursor": cursor}


def get_cursor_type(column: InstrumentedAttribute[Any]) -> Any:
    kind = column.type.python_type
    if kind is str and isinstance(column.type, Uuid):
        return UuidText
    return CURSOR_TYPES.get(kind, kind)


def encode_cursor(position: TypeAdapter[Any], value: Any) -> str:
    return urlsafe_b64encode(position.dump_json(value)).decode().rstrip("=")


def decode_cursor(position: TypeAdapter[Any], cursor: str) -> Any:
    try:
        return position.validate_json(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError as error:
        raise Unprocessable.for_field("cursor", "must be a next_cursor of this list") from error
