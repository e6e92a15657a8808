"""Notifies users, through communication, that a document was shared with them.

A notice is a row written in the transaction of the grant, so neither exists without the other, and
sharing works while communication is unavailable. The chassis hands the rows over.
"""

from datetime import UTC, timedelta

from sqlalchemy import ARRAY, Text, delete, func, literal, select
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.contracts import NewNotification
from chassis.errors import Unprocessable
from chassis.job_queue import DEAD
from chassis.notification_outbox import NotificationOutbox

from ..access import filter_by_grantees
from ..database import session_maker
from ..models import USER_PREFIX, Document, Grant, Notice

MAX_SUBJECT_CHARACTERS = 300
DEAD_NOTICE_RETENTION = timedelta(days=7)


def queue_notice(session: Session, sharer: User, document: Document, grant: Grant) -> None:
    """Queue a notice, in place of one that still waits for an earlier grant."""
    delete_notice(session, grant)
    sharer_name = sharer.email or "Someone"
    subject = f"{sharer_name} shared “{document.title}” with you"
    one_line = "".join(character if character.isprintable() else " " for character in subject)
    end = grant.expires_at
    until = f" until {end.astimezone(UTC):%d %B %Y, %H:%M} UTC" if end else ""
    body = f"{sharer_name} gave you {grant.level} access to the document “{document.title}”{until}."
    texts = {"subject": one_line[:MAX_SUBJECT_CHARACTERS], "body": body}
    session.add(Notice(document_id=document.id, recipient_id=grant.user_id, **texts))


def delete_notice(session: Session, grant: Grant) -> None:
    waiting = {"document_id": grant.document_id, "recipient_id": grant.user_id}
    session.execute(delete(Notice).filter_by(**waiting))


def delete_dead_notices(session: Session) -> None:
    is_old = Notice.run_at < func.now() - DEAD_NOTICE_RETENTION
    session.execute(delete(Notice).where(Notice.status == DEAD, is_old))


def build_notification(session: Session, notice: Notice) -> NewNotification | None:
    """Build a request, or None when the recipient may no longer see the document and its title."""
    names = literal([USER_PREFIX + notice.recipient_id], ARRAY(Text))
    document = select(Document.id).where(Document.id == notice.document_id)
    if session.scalar(filter_by_grantees(document, names)) is None:
        return None
    return {
        "recipient_id": notice.recipient_id,
        "category": "sharing",
        "subject": notice.subject,
        "body": notice.body,
    }


OUTBOX = NotificationOutbox(
    Notice,
    session_maker,
    build_notification,
    keep_sent=False,
    give_up_on=(Unprocessable,),
    batch_size=5,
)
