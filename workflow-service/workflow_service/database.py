"""The database: engine, declarative base, and the session that a request works with."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, ClassVar

from fastapi import Depends
from sqlalchemy import DateTime, Text, create_engine
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from chassis.settings import LIBPQ_OPTIONS

from .settings import settings

# The engine opens its first connection on first use.
engine = create_engine(
    settings.get_driver_url("psycopg2"),
    pool_size=settings.database_pool_size,
    max_overflow=settings.database_max_overflow,
    pool_pre_ping=True,
    executemany_mode="values_plus_batch",  # the changes of many steps in one round trip
    connect_args={**LIBPQ_OPTIONS, "options": "-c statement_timeout=15000"},
)
session_maker = sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB(none_as_null=True),
    }


def get_db_session() -> Iterator[Session]:
    with session_maker.begin() as session:
        yield session


# scope="function" commits before the response is sent, so a 201 means "saved".
DbSession = Annotated[
    Session,
    Depends(get_db_session, scope="function", max_concurrency=settings.max_concurrent_sessions),
]
