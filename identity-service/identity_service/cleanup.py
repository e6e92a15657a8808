"""Removes what is over once an hour: of people, too, who never come back."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI
from sqlalchemy import delete, func, select

from chassis.job_queue import DEAD, DONE

from .database import session_maker
from .models import Challenge, LoginSession, Mail

logger = logging.getLogger(__name__)

PAUSE = 3600.0  # seconds
AT_ONCE = 1_000  # rows, so that no statement takes long
KEPT = timedelta(days=30)  # longer than any link is good for

OVER = (
    (LoginSession.id, LoginSession.expires_at <= func.now()),  # with their refresh tokens
    (Challenge.digest, Challenge.expires_at <= func.now()),
    (Mail.id, Mail.status.in_([DONE, DEAD]) & (Mail.run_at < func.now() - KEPT)),
)


@asynccontextmanager
async def sweeping(app: FastAPI) -> AsyncIterator[None]:
    task = asyncio.create_task(sweep_for_ever())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def sweep_for_ever() -> None:
    while True:
        try:
            await sweep()
        except Exception as error:  # whatever it is, it will be over in an hour as well
            logger.warning("what is over cannot be removed: %s", error)
        await asyncio.sleep(PAUSE)


async def sweep() -> None:
    """Leaves to others what they have locked."""
    for key, is_over in OVER:
        some = select(key).where(is_over).limit(AT_ONCE).with_for_update(skip_locked=True)
        removal = delete(key.class_).where(key.in_(some)).returning(key)
        removed = AT_ONCE
        while removed == AT_ONCE:
            async with session_maker.begin() as session:
                removed = len((await session.scalars(removal)).all())
