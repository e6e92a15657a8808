"""The database: one transaction per request, committed before the response is sent."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated

from fastapi import Depends
from sqlalchemy import DateTime, LargeBinary, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from .settings import settings

# A held lock or a frozen database costs a request a 503 after these limits. PostgreSQL's limit is
# below asyncpg's, because asyncpg drops the connection at its own. LISTEN is not affected: the
# statement itself ends at once.
CONNECT_ARGUMENTS = {
    "timeout": 3,  # seconds to connect
    "command_timeout": 16,  # seconds
    "server_settings": {
        "statement_timeout": "15000",  # milliseconds
        "idle_in_transaction_session_timeout": "30000",  # frees the locks of a frozen process
    },
}

# Overflow connections are closed after each use, which costs more than the requests they serve, so
# the pool keeps all of its connections instead.
engine = create_async_engine(
    settings.get_driver_url("asyncpg"),
    pool_size=settings.database_pool_size + settings.database_max_overflow,
    max_overflow=0,
    pool_timeout=5,
    pool_recycle=1800,
    connect_args=CONNECT_ARGUMENTS,
    hide_parameters=True,  # keeps secrets out of error messages and logs
)
# A single statement needs no transaction; leaving it out saves two round trips on the hot path.
autocommit_engine = engine.execution_options(isolation_level="AUTOCOMMIT")
session_maker = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012
        datetime: DateTime(timezone=True),
        str: Text(),
        list[str]: ARRAY(Text),
        list[bytes]: ARRAY(LargeBinary),
    }


class CommitOnError(Exception):
    """Mixin for errors after which the transaction is still committed, to keep the audit event."""


async def get_db_session() -> AsyncIterator[AsyncSession]:
    async with session_maker() as session:
        try:
            yield session
        except CommitOnError:
            await session.commit()
            raise
        await session.commit()


# scope="function" commits before the response is sent, so that a 201 means "saved". A session takes
# a connection at its first statement, so requests that wait for a password hash hold none.
DbSession = Annotated[AsyncSession, Depends(get_db_session, scope="function")]
