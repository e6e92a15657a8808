"""The database: engine, declarative base, and the session of a request."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, ClassVar, cast

from fastapi import Depends
from sqlalchemy import Connection, DateTime, Table, Text, create_engine, insert
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from .settings import settings

# Nothing connects here: an engine opens its first connection on first use. Overflow that is closed
# after each use would cost more than the requests it serves, so that all of the pool is kept.
# To start a second process of PostgreSQL for a search takes ten times as long as the search.
OPTIONS = "-c statement_timeout=15000 -c max_parallel_workers_per_gather=0"
engine = create_engine(
    settings.driver_url("psycopg2"),
    pool_size=settings.database_connections,
    max_overflow=0,
    pool_timeout=5,
    pool_recycle=1800,
    connect_args={"connect_timeout": 3, "options": OPTIONS},
)
session_maker = sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    """The tables of this service, and what their columns' Python types are in PostgreSQL."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        datetime: DateTime(timezone=True),
        list[str]: ARRAY(Text),
        dict[str, Any]: JSONB,
    }


@contextmanager
def autocommit() -> Iterator[Connection]:
    """A connection for single statements without a transaction around: two round trips less.

    SQLAlchemy's own option for it takes as many: psycopg2 tells the server of either change.
    """
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.autocommit = True
        try:
            yield connection
        finally:
            if not driver.closed:
                driver.autocommit = False


def add_row(session: Session, model: type[Base], **values: Any) -> None:
    """For a row that nobody needs as an object: at once, and at half the price of `add`."""
    session.execute(insert(cast(Table, model.__table__)), values)


def get_db_session() -> Iterator[Session]:
    with session_maker.begin() as session:
        yield session


# scope="function" commits before the answer is sent, so a 201 means "saved".
IN_TURN = Depends(get_db_session, scope="function", max_concurrency=settings.sessions_at_once)
DbSession = Annotated[Session, IN_TURN]
