"""Removes what is over once an hour: of people, too, who never come back."""

from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from fastapi import FastAPI
from sqlalchemy import delete, func, select

from chassis.background import background_task
from chassis.job_queue import DEAD, DONE

from .database import session_maker
from .models import Challenge, LoginSession, Mail

PAUSE = 3600.0  # seconds
AT_ONCE = 1_000  # rows, so that no statement takes long
KEPT = timedelta(days=30)  # longer than any link is good for

OVER = (
    (LoginSession.id, LoginSession.expires_at <= func.now()),  # with their refresh tokens
    (Challenge.digest, Challenge.expires_at <= func.now()),
    (Mail.id, Mail.status.in_([DONE, DEAD]) & (Mail.run_at < func.now() - KEPT)),
)


def run_cleanup(_: FastAPI) -> AbstractAsyncContextManager[None]:
    return background_task("cleanup", sweep, PAUSE)


async def sweep() -> None:
    """Leaves to others what they have locked."""
    for key, is_over in OVER:
        some = select(key).where(is_over).limit(AT_ONCE).with_for_update(skip_locked=True)
        removal = delete(key.class_).where(key.in_(some)).returning(key)
        removed = AT_ONCE
        while removed == AT_ONCE:
            async with session_maker.begin() as session:
                removed = len((await session.scalars(removal)).all())
