"""The database: one transaction per request, committed before the answer is sent."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends
from sqlalchemy import DateTime, Text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from .settings import settings

# A lock that somebody holds, or a database that is frozen, costs a 503 and not for ever. It says so
# itself before asyncpg, which needs a new connection then, gives up on it. (LISTEN is no statement
# that goes on.)
CONNECT_ARGUMENTS = {
    "timeout": 3,  # seconds, to connect
    "command_timeout": 16,
    "server_settings": {
        "statement_timeout": "15000",  # milliseconds
        "idle_in_transaction_session_timeout": "30000",  # what a frozen process has locked
    },
}

# Overflow that is closed after each use would cost more than the requests it serves: all is kept.
engine = create_async_engine(
    settings.get_driver_url("asyncpg"),
    pool_size=settings.database_pool_size + settings.database_max_overflow,
    max_overflow=0,
    pool_timeout=5,
    pool_recycle=1800,
    connect_args=CONNECT_ARGUMENTS,
    hide_parameters=True,  # in errors, and so in logs: they may be secrets
)
# One statement needs no transaction around it: two round trips less on the hot path.
autocommit_engine = engine.execution_options(isolation_level="AUTOCOMMIT")
session_maker = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    type_annotation_map = {datetime: DateTime(timezone=True), str: Text()}  # noqa: RUF012


class CommitOnError(Exception):
    """Marks a refusal that leaves a trace, such as an audit event: what was written is kept."""


def now() -> datetime:
    return datetime.now(UTC)


async def get_db_session() -> AsyncIterator[AsyncSession]:
    async with session_maker() as session:
        try:
            yield session
        except CommitOnError:
            await session.commit()
            raise
        await session.commit()


# scope="function" commits before the response is sent, so a 201 means "saved". No turns are taken
# here as elsewhere: whoever waits for a hash has a session, but no connection yet.
DbSession = Annotated[AsyncSession, Depends(get_db_session, scope="function")]
