"""Tells people what was shared with them, through communication, however long that is away.

A notice is a row written in the transaction of the grant: they happen together or not at all, and
nobody who shares waits for communication. It is handed over under its own id as the key, so that
twice is once.
"""

import logging
from datetime import UTC, timedelta

from sqlalchemy import ARRAY, Text, delete, func, literal, select
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.errors import ServiceError, Unprocessable
from chassis.job_queue import DEAD, RetryPolicy, claim_jobs, finish_job, retry_job
from chassis.service_client import ServiceClient
from chassis.tracing import trace_context

from ..access import filter_by_grantees
from ..database import session_maker
from ..models import USER_PREFIX, Document, Grant, Notice

logger = logging.getLogger(__name__)

AT_ONCE = 5
LEASE = timedelta(minutes=1)  # longer than so many calls can take
POLICY = RetryPolicy(max_attempts=2_000, max_delay=60)  # a day and more
LONGEST_SUBJECT = 300
KEPT = timedelta(days=7)  # what was given up, with its reason


def tell(session: Session, sharer: User, document: Document, grant: Grant) -> None:
    """In place of what still waits to be told of an earlier grant."""
    forget(session, grant)
    who = sharer.email or "Somebody"
    subject = f"{who} shared “{document.title}” with you"
    one_line = "".join(character if character.isprintable() else " " for character in subject)
    until = grant.expires_at and f" until {grant.expires_at.astimezone(UTC):%d %B %Y, %H:%M} UTC"
    body = f"{who} gave you {grant.level} access to the document “{document.title}”{until or ''}."
    texts = {"subject": one_line[:LONGEST_SUBJECT], "body": body}
    session.add(Notice(document_id=document.id, recipient_id=grant.user_id, **texts))


def forget(session: Session, grant: Grant) -> None:
    waiting = {"document_id": grant.document_id, "recipient_id": grant.user_id}
    session.execute(delete(Notice).filter_by(**waiting))


def forget_dead(session: Session) -> None:
    over = Notice.run_at < func.now() - KEPT
    session.execute(delete(Notice).where(Notice.status == DEAD, over))


def hand_over_due(communication: ServiceClient) -> bool:
    """False when nothing was due."""
    with session_maker.begin() as session:
        claimed = claim_jobs(session, Notice, limit=AT_ONCE, lease=LEASE)
    for notice in claimed:
        with trace_context(notice.trace_id):
            hand_over(communication, notice)
    return bool(claimed)


def hand_over(communication: ServiceClient, notice: Notice) -> None:
    """Unless it waited for so long that it is no longer true."""
    texts = {"subject": notice.subject, "body": notice.body}
    new = {"recipient_id": notice.recipient_id, "category": "sharing", **texts}
    key = {"Idempotency-Key": str(notice.id)}
    try:
        if is_true(notice):
            communication.call_from_thread("POST", "/api/v1/notifications", new, key)
    except ServiceError as error:
        put_back(notice, error)
    else:
        with session_maker.begin() as session:
            session.execute(delete(Notice).filter_by(id=notice.id))


def is_true(notice: Notice) -> bool:
    """Whether the recipient may see the document now; it names its title."""
    names = literal([USER_PREFIX + notice.recipient_id], ARRAY(Text))
    document = select(Document.id).where(Document.id == notice.document_id)
    with session_maker() as session:
        return session.scalar(filter_by_grantees(document, names)) is not None


def put_back(notice: Notice, error: ServiceError) -> None:
    """What communication says is wrong rests, with its reason; all else is tried again."""
    logger.warning("notice %s was not taken: %s", notice.id, error)
    with session_maker.begin() as session:
        if isinstance(error, Unprocessable):
            finish_job(session, notice, DEAD, last_error=str(error))
        else:
            retry_job(session, notice, str(error), POLICY)
