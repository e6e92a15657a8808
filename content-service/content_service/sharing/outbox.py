"""Tells people what was shared with them, through communication, however long that is away.

A notice is a row written in the transaction of the grant: they happen together or not at all, and
nobody who shares waits for communication. It is handed over under its own id as the key, so that
twice is once.
"""

from datetime import UTC, timedelta
from typing import Any

from sqlalchemy import ARRAY, Text, delete, func, literal, select
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.errors import Unprocessable
from chassis.job_queue import DEAD
from chassis.notification_outbox import NotificationOutbox

from ..access import filter_by_grantees
from ..database import session_maker
from ..models import USER_PREFIX, Document, Grant, Notice

MAX_SUBJECT_CHARACTERS = 300
DEAD_NOTICE_RETENTION = timedelta(days=7)  # what was given up, with its reason


def queue_notice(session: Session, sharer: User, document: Document, grant: Grant) -> None:
    """In place of what still waits to be told of an earlier grant."""
    delete_notice(session, grant)
    who = sharer.email or "Somebody"
    subject = f"{who} shared “{document.title}” with you"
    one_line = "".join(character if character.isprintable() else " " for character in subject)
    until = grant.expires_at and f" until {grant.expires_at.astimezone(UTC):%d %B %Y, %H:%M} UTC"
    body = f"{who} gave you {grant.level} access to the document “{document.title}”{until or ''}."
    texts = {"subject": one_line[:MAX_SUBJECT_CHARACTERS], "body": body}
    session.add(Notice(document_id=document.id, recipient_id=grant.user_id, **texts))


def delete_notice(session: Session, grant: Grant) -> None:
    waiting = {"document_id": grant.document_id, "recipient_id": grant.user_id}
    session.execute(delete(Notice).filter_by(**waiting))


def delete_dead_notices(session: Session) -> None:
    over = Notice.run_at < func.now() - DEAD_NOTICE_RETENTION
    session.execute(delete(Notice).where(Notice.status == DEAD, over))


def build_notification(session: Session, notice: Notice) -> dict[str, Any] | None:
    """None when the recipient may not see the document any more; the text names its title."""
    names = literal([USER_PREFIX + notice.recipient_id], ARRAY(Text))
    document = select(Document.id).where(Document.id == notice.document_id)
    if session.scalar(filter_by_grantees(document, names)) is None:
        return None
    texts = {"subject": notice.subject, "body": notice.body}
    return {"recipient_id": notice.recipient_id, "category": "sharing", **texts}


OUTBOX = NotificationOutbox(
    Notice,
    session_maker,
    build_notification,
    keep_sent=False,
    give_up_on=(Unprocessable,),
    batch_size=5,
)
