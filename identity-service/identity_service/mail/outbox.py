"""The email outbox: hands emails over to communication; identity itself never waits for it."""

from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.orm import Session

from chassis.notification_outbox import NotificationOutbox

from ..crypto import tokens
from ..database import reader, session_maker
from ..models import Client, Mail
from ..settings import settings
from . import service as mails
from . import texts

POLL_SECONDS = 1.0


class OwnAccount:
    """Signs identity's own service token; every other service requests one from identity."""

    async def get_token(self, on_behalf_of: str | None = None) -> str:
        query = select(Client.id).where(Client.client_id == settings.service_client_id)
        async with reader.connect() as connection:
            own_id = (await connection.execute(query)).scalar_one()
        return tokens.issue(tokens.Kind.SERVICE, own_id, own_id, settings.access_token_seconds)

    def forget_token(self, on_behalf_of: str | None = None) -> None:
        """Do nothing: no token is cached."""


def build_notification(session: Session, mail: Mail) -> dict[str, Any]:
    mails.start_clock(session, mail)
    variables = {**mail.variables, "link": mails.address_of(mail)}
    return {
        "recipient_id": str(mail.user_id),
        "category": "security",
        **texts.written(mail.kind, variables),
    }


OUTBOX = NotificationOutbox(Mail, session_maker, build_notification)


def run_outbox(app: FastAPI) -> AbstractAsyncContextManager[None]:
    return OUTBOX.run(app, settings.communication_service_url, OwnAccount(), POLL_SECONDS)
