"""Deletes expired rows once an hour, also those of users who never come back."""

from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from fastapi import FastAPI
from sqlalchemy import delete, func, select

from chassis.background import background_task
from chassis.job_queue import DEAD, DONE

from .database import session_maker
from .models import Challenge, LoginSession, Mail

CLEANUP_INTERVAL_SECONDS = 3600.0
DELETE_BATCH_SIZE = 1_000  # rows; keeps each statement short
MAIL_RETENTION = timedelta(days=30)  # longer than any link is valid

EXPIRED_ROWS = (
    (LoginSession.id, LoginSession.expires_at <= func.now()),  # with their refresh tokens
    (Challenge.digest, Challenge.expires_at <= func.now()),
    (Mail.id, Mail.status.in_([DONE, DEAD]) & (Mail.run_at < func.now() - MAIL_RETENTION)),
)


def run_cleanup(_: FastAPI) -> AbstractAsyncContextManager[None]:
    """Deletes expired rows as long as the app runs."""
    return background_task("cleanup", delete_expired_rows, CLEANUP_INTERVAL_SECONDS)


async def delete_expired_rows(batch_size: int = DELETE_BATCH_SIZE) -> None:
    """Skips rows that another process has locked."""
    for key, is_expired in EXPIRED_ROWS:
        batch = select(key).where(is_expired).limit(batch_size).with_for_update(skip_locked=True)
        deletion = delete(key.class_).where(key.in_(batch)).returning(key)
        deleted = batch_size
        while deleted == batch_size:
            async with session_maker.begin() as session:
                deleted = len((await session.scalars(deletion)).all())
