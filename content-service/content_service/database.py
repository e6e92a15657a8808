"""The database: engine, declarative base, sessions, and single statements without a session."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, ClassVar, cast

from fastapi import Depends
from sqlalchemy import Connection, DateTime, Table, Text, create_engine, insert
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from chassis.settings import LIBPQ_OPTIONS

from .settings import settings

# Starting a second PostgreSQL process for a search takes ten times as long as the search.
OPTIONS = "-c statement_timeout=15000 -c max_parallel_workers_per_gather=0"
# The engine connects on first use. The whole pool stays open: closing overflow connections after
# each use would cost more than the requests they serve.
engine = create_engine(
    settings.get_driver_url("psycopg2"),
    pool_size=settings.database_connections,
    max_overflow=0,
    pool_timeout=5,
    pool_recycle=1800,
    connect_args={**LIBPQ_OPTIONS, "options": OPTIONS},
)
session_maker = sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    """Maps the Python types of columns to PostgreSQL types."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        datetime: DateTime(timezone=True),
        list[str]: ARRAY(Text),
        dict[str, Any]: JSONB,
    }


def get_db_session() -> Iterator[Session]:
    with session_maker.begin() as session:
        yield session


# scope="function" commits before the answer is sent, so a 201 means "saved".
SESSION = Depends(
    get_db_session, scope="function", max_concurrency=settings.max_concurrent_sessions
)
DbSession = Annotated[Session, SESSION]


@contextmanager
def connect_autocommit() -> Iterator[Connection]:
    """Open a connection for single statements without a transaction: two round trips less.

    SQLAlchemy's own AUTOCOMMIT option saves nothing: psycopg2 tells the server about each switch.
    """
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.autocommit = True
        try:
            yield connection
        finally:
            if not driver.closed:
                driver.autocommit = False


def insert_row(session: Session, model: type[Base], **values: Any) -> None:
    """Insert a row that is not needed as an object: at once, and at half the cost of `add`."""
    session.execute(insert(cast(Table, model.__table__)), values)
