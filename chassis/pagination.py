"""Keyset pages: page 10,000 costs what page 1 costs."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from fastapi import Depends, Query
from pydantic import BaseModel
from sqlalchemy import Row, Select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from .errors import Unprocessable

Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    items: list[Item]
    next_cursor: str | None


class PageParameters:
    """`?limit=&cursor=`; the cursor is the `next_cursor` of the page before."""

    def __init__(
        self,
        limit: Annotated[int, Query(ge=1, le=100)] = 50,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
    ) -> None:
        self.limit = limit
        self.cursor = cursor


PageRequest = Annotated[PageParameters, Depends()]


def paginate(
    session: Session,
    statement: Select[Any],
    request: PageParameters,
    *columns: InstrumentedAttribute[Any],
) -> dict[str, Any]:
    """One page of the statement, descending by the columns, which must be unique together.

    A row of one ORM object comes as that object. Async: `await session.run_sync(lambda s: ...)`.
    Raises Unprocessable for a cursor that this list did not give.
    """
    rows = session.execute(seek(statement, request, *columns)).all()
    return page(rows, request, *columns)


def seek(
    statement: Select[Any], request: PageParameters, *columns: InstrumentedAttribute[Any]
) -> Select[Any]:
    """The statement from the cursor on, with one row more than asked: is there a next page?"""
    if request.cursor is not None:
        position = decode(request.cursor, columns)
        statement = statement.where(tuple_(*columns) < tuple_(*position))
    return statement.order_by(*(column.desc() for column in columns)).limit(request.limit + 1)


def page(
    rows: Any, request: PageParameters, *columns: InstrumentedAttribute[Any]
) -> dict[str, Any]:
    items = [row[0] if len(row) == 1 else row for row in rows[: request.limit]]
    more = len(rows) > request.limit
    return {"items": items, "next_cursor": encode(items[-1], columns) if more else None}


def encode(item: Any, columns: tuple[InstrumentedAttribute[Any], ...]) -> str:
    source = item._mapping if isinstance(item, Row) else item
    values = [
        source[column.key] if isinstance(item, Row) else getattr(source, column.key)
        for column in columns
    ]
    return urlsafe_b64encode(json.dumps(values, default=str).encode()).decode().rstrip("=")


def decode(cursor: str, columns: tuple[InstrumentedAttribute[Any], ...]) -> list[Any]:
    try:
        values = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return [parse(column, value) for column, value in zip(columns, values, strict=True)]
    except (ValueError, TypeError, AttributeError) as error:
        raise Unprocessable.field("cursor", "is not one that this list gave") from error


def parse(column: InstrumentedAttribute[Any], value: Any) -> Any:
    kind = column.type.python_type
    if kind is UUID:
        return UUID(value)
    if kind is datetime:
        return datetime.fromisoformat(value)
    return kind(value)
