"""Suppressions: who gets nothing of a category any more, by unsubscribing or by an operator."""

from hashlib import sha256
from typing import Any
from uuid import UUID

from itsdangerous import BadSignature, URLSafeSerializer
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.errors import Conflict, NotFound
from chassis.pagination import PageParameters, paginate

from ..models import Suppression
from ..schemas.preferences import SuppressionCreate
from ..settings import Settings

UNSUBSCRIBED_REASON = "The recipient has unsubscribed by the link in an email"


class UnknownSuppression(NotFound):
    """Raised when the suppression does not exist."""


class DuplicateSuppression(Conflict):
    """Raised when the user, channel and category are suppressed already."""


class UnknownLink(NotFound):
    """Raised when the link is incomplete or not from this service."""


def list_suppressed(session: Session, page: PageParameters, user_id: UUID | None) -> dict[str, Any]:
    listed = select(Suppression)
    if user_id is not None:
        listed = listed.where(Suppression.user_id == str(user_id))
    return paginate(session, listed, page, Suppression.id)


def add_suppression(session: Session, author: User, new: SuppressionCreate) -> Suppression:
    values = new.model_dump() | {"user_id": str(new.user_id)}
    suppression = Suppression(author_id=author.user_id, **values)
    session.add(suppression)
    try:
        session.flush()
    except IntegrityError as error:
        raise DuplicateSuppression("This is suppressed already") from error
    return suppression


def delete_suppression(session: Session, suppression_id: UUID) -> None:
    suppression = session.get(Suppression, suppression_id)
    if suppression is None:
        raise UnknownSuppression("There is no such suppression")
    session.delete(suppression)


def build_unsubscribe_link(settings: Settings, user_id: str, category: str) -> str:
    """Returns a link that works without a login and never expires, for anyone who has the email."""
    token = build_signer(settings).dumps([user_id, category])
    return f"{settings.public_url}/api/v1/unsubscribe/{token}"


def unsubscribe(session: Session, settings: Settings, token: str) -> str:
    """Returns the category; repeating it changes nothing."""
    user_id, category = read_token(settings, token)
    values = {"user_id": user_id, "category": category, "channel": "email"}
    new = insert(Suppression).values(**values, reason=UNSUBSCRIBED_REASON)
    session.execute(new.on_conflict_do_nothing())
    return category


def read_token(settings: Settings, token: str) -> tuple[str, str]:
    try:
        user_id, category = build_signer(settings).loads(token)
    except BadSignature as error:
        raise UnknownLink("This link is incomplete or not from our mails; copy it again") from error
    return user_id, category


def build_signer(settings: Settings) -> URLSafeSerializer:
    key = settings.jwt_secret_key.get_secret_value()
    return URLSafeSerializer(key, "unsubscribe", signer_kwargs={"digest_method": sha256})
