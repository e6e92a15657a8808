"""Hands mails to communication, however long that takes: identity itself never waits for it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.orm import Session

from chassis.errors import ServiceError
from chassis.job_queue import RetryPolicy, claim_jobs, finish_job, retry_job
from chassis.service_client import ServiceClient
from chassis.tracing import trace_context

from ..crypto import tokens
from ..database import reader, session_maker
from ..models import Client, Mail
from ..settings import settings
from . import service as mails
from . import texts

logger = logging.getLogger(__name__)

PAUSE = 1.0  # seconds between two looks
AT_ONCE = 10
LEASE = timedelta(minutes=1)  # longer than one hand-over can take
POLICY = RetryPolicy(max_attempts=2_000, max_delay=60)  # a day and more


class OwnAccount:
    """Identity signs its own token; every other service asks it for one."""

    async def get_token(self, on_behalf_of: str | None = None) -> str:
        query = select(Client.id).where(Client.client_id == settings.service_client_id)
        async with reader.connect() as connection:
            own_id = (await connection.execute(query)).scalar_one()
        return tokens.issue(tokens.Kind.SERVICE, own_id, own_id, settings.access_token_seconds)

    def forget_token(self, on_behalf_of: str | None = None) -> None:
        """Nothing is kept."""


@asynccontextmanager
async def delivering(app: FastAPI) -> AsyncIterator[None]:
    """As a task of the lifespan; of several processes, each takes what the others have not."""
    communication = ServiceClient(
        settings.communication_service_url,
        settings.service_name,
        target="communication-service",
        account=OwnAccount(),
        transport=app.state.transport,
    )
    task = asyncio.create_task(deliver_for_ever(communication))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await communication.aclose()


async def deliver_for_ever(communication: ServiceClient) -> None:
    while True:
        try:
            delivered = await deliver_due(communication)
        except Exception as error:  # whatever it is, what was claimed will be due again
            logger.warning("mails cannot be handed over: %s", error)
            delivered = 0
        if delivered < AT_ONCE:
            await asyncio.sleep(PAUSE)


async def deliver_due(communication: ServiceClient) -> int:
    async with session_maker.begin() as session:
        due = await session.run_sync(take)
    await asyncio.gather(*(deliver(communication, mail) for mail in due))
    return len(due)


def take(session: Session) -> Sequence[Mail]:
    return claim_jobs(session, Mail, limit=AT_ONCE, lease=LEASE)


async def deliver(communication: ServiceClient, mail: Mail) -> None:
    with trace_context(mail.trace_id):
        try:
            await hand_over(communication, mail)
        except ServiceError as error:
            logger.warning("mail %s is not handed over yet: %s", mail.id, error)
            return await settle(mail, str(error))
        await settle(mail)


async def hand_over(communication: ServiceClient, mail: Mail) -> None:
    # Not with the claim: a row changed twice in one transaction locks its user, and whoever is
    # deleting that user waits for the row.
    async with session_maker.begin() as session:
        await mails.start_clock(session, mail)
    variables = {**mail.variables, "link": mails.address_of(mail)}
    notification = {
        "recipient_id": str(mail.user_id),
        "category": "security",
        **texts.written(mail.kind, variables),
    }
    key = {"Idempotency-Key": str(mail.id)}  # handed over twice, it is sent once
    await communication.make_request("POST", "/api/v1/notifications", notification, key)


async def settle(mail: Mail, error: str | None = None) -> None:
    async with session_maker.begin() as session:
        if error is None:
            await session.run_sync(lambda s: finish_job(s, mail))
        else:
            await session.run_sync(lambda s: retry_job(s, mail, error, POLICY))
