"""The database: engine, declarative base, and the session of a request."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, ClassVar

from fastapi import Depends
from sqlalchemy import DateTime, Text, create_engine
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from chassis.settings import LIBPQ_OPTIONS

from .settings import settings

# The engine connects on first use. The whole pool stays open: closing overflow connections after
# each use would cost more than the requests they serve.
engine = create_engine(
    settings.get_driver_url("psycopg2"),
    pool_size=settings.database_connections,
    max_overflow=0,
    pool_timeout=5,
    pool_recycle=1800,
    connect_args={**LIBPQ_OPTIONS, "options": "-c statement_timeout=15000"},
)
session_maker = sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    """Maps the Python types of columns to PostgreSQL types."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        datetime: DateTime(timezone=True),
    }


def get_db_session() -> Iterator[Session]:
    with session_maker.begin() as session:
        yield session


# scope="function" commits before the answer is sent, so a 201 means "saved".
SESSION = Depends(
    get_db_session, scope="function", max_concurrency=settings.max_concurrent_sessions
)
DbSession = Annotated[Session, SESSION]
