"""Delivers queued emails to the communication service; identity itself never waits for it."""

from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.orm import Session

from chassis.contracts import NewNotification
from chassis.notification_outbox import NotificationOutbox

from ..crypto import tokens
from ..database import autocommit_engine, session_maker
from ..models import Mail, OAuthClient
from ..settings import settings
from . import service as mail_service
from .texts import EMAIL_TEXTS, EmailKind

POLL_SECONDS = 1.0


class OwnAccount:
    """Signs identity's own service token; every other service requests one from identity."""

    async def get_token(self, on_behalf_of: str | None = None) -> str:
        query = select(OAuthClient.id).where(OAuthClient.client_id == settings.service_client_id)
        async with autocommit_engine.connect() as connection:
            own_id = (await connection.execute(query)).scalar_one()
        seconds = settings.access_token_seconds
        return tokens.sign_token(tokens.TokenType.SERVICE, own_id, own_id, seconds)

    def forget_token(self, on_behalf_of: str | None = None) -> None:
        """Does nothing, because no token is cached."""


def build_notification(session: Session, mail: Mail) -> NewNotification:
    mail_service.start_link_lifetime(session, mail)
    text = EMAIL_TEXTS[EmailKind(mail.kind)]
    body = text.body.format(**mail.variables, link=mail_service.build_link(mail))
    return {
        "recipient_id": str(mail.user_id),
        "category": "security",
        "subject": text.subject,
        "body": body,
        "channels": text.channels,
    }


OUTBOX = NotificationOutbox(Mail, session_maker, build_notification)


def run_outbox(app: FastAPI) -> AbstractAsyncContextManager[None]:
    """Delivers emails as long as the app runs."""
    return OUTBOX.run(app, settings.communication_service_url, OwnAccount(), POLL_SECONDS)
