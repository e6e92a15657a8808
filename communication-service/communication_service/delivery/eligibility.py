"""At the moment of sending: who wants what they would get, and who has had enough of it."""

import logging
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from pydantic import ValidationError
from sqlalchemy import select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from chassis.job_queue import PENDING, JobResult, finish_jobs

from ..models import SUPPRESSED, URGENT, Delivery, Preferences, Suppression, Throttle
from ..schemas.preferences import NotificationPreferences, RateLimit
from ..settings import Settings
from .rules import EVERY_CATEGORY, SEND, Decision, DeliveryFacts, decide

logger = logging.getLogger(__name__)

NO_PREFERENCES = NotificationPreferences()
UNREADABLE_RETRY_DELAY = timedelta(minutes=5)

DeliveryKey = tuple[str, str, str]
"""Recipient, category and channel."""


def select_eligible(
    session: Session, claimed: Sequence[Delivery], settings: Settings
) -> list[Delivery]:
    """Those to be sent now. The others are settled: suppressed or put off, with the reason."""
    if not claimed:
        return []
    recipients = RecipientFacts(session, claimed, settings)
    moment = claimed[0].get_claim_time(settings.lease)
    decisions = {delivery: recipients.decide(delivery, moment) for delivery in claimed}
    others = [build_job_result(d, what, moment) for d, what in decisions.items() if what != SEND]
    finish_jobs(session, Delivery, others)
    return [delivery for delivery, what in decisions.items() if what == SEND]


def build_job_result(delivery: Delivery, decision: Decision, moment: datetime) -> JobResult:
    if decision.until is None:
        return JobResult(delivery, SUPPRESSED, decision.reason, counts=False)
    delay = (decision.until - moment).total_seconds()
    return JobResult(delivery, PENDING, decision.reason, delay=delay, counts=False)


class RecipientFacts:
    """What is known of those of a batch."""

    def __init__(self, session: Session, claimed: Sequence[Delivery], settings: Settings) -> None:
        self._settings = settings
        people = {delivery.notification.recipient_id for delivery in claimed}
        self._preferences, self._unreadable = load_preferences(session, people)
        self._suppressions = load_suppressions(session, people)
        kinds = {get_key(delivery) for delivery in claimed}
        limited = [kind for kind in sorted(kinds) if self._find_limit(kind)]
        self._throttles = lock_throttles(session, limited) if limited else {}

    def decide(self, delivery: Delivery, moment: datetime) -> Decision:
        kind = get_key(delivery)
        if kind[0] in self._unreadable and not self._is_mandatory(kind[1]):
            return Decision(
                "The recipient's preferences cannot be read", moment + UNREADABLE_RETRY_DELAY
            )
        recent = self._get_recent(delivery, kind, moment)
        decision = decide(self._build_facts(delivery, kind, len(recent)), moment)
        if decision == SEND and kind in self._throttles:
            self._throttles[kind].recent = {
                **recent,
                str(delivery.notification_id): moment.timestamp(),
            }
        return decision

    def _build_facts(self, delivery: Delivery, kind: DeliveryKey, recent: int) -> DeliveryFacts:
        person, category, channel = kind
        return DeliveryFacts(
            category=category,
            channel=channel,
            is_mandatory=self._is_mandatory(category),
            is_urgent=delivery.priority == URGENT,
            suppression_reason=self._suppressions.get(kind)
            or self._suppressions.get((person, EVERY_CATEGORY, channel)),
            preferences=self._preferences.get(person, NO_PREFERENCES),
            limit=self._find_limit(kind),
            recent_count=recent,
        )

    def _is_mandatory(self, category: str) -> bool:
        return category in self._settings.mandatory_categories

    def _find_limit(self, kind: DeliveryKey) -> RateLimit | None:
        """The recipient's own goes before that of the settings."""
        person, category, _ = kind
        if self._is_mandatory(category):
            return None
        limits = (
            self._preferences.get(person, NO_PREFERENCES).limits,
            self._settings.category_limits,
        )
        found = (some.get(name) for some in limits for name in (category, EVERY_CATEGORY))
        return next(filter(None, found), None)

    def _get_recent(
        self, delivery: Delivery, kind: DeliveryKey, moment: datetime
    ) -> dict[str, float]:
        """When others of the kind were sent; one that is tried again is not counted again."""
        limit = self._find_limit(kind)
        if limit is None:
            return {}
        begin, itself = moment.timestamp() - limit.seconds, str(delivery.notification_id)
        sent = self._throttles[kind].recent.items()
        return {other: at for other, at in sent if at > begin and other != itself}


def get_key(delivery: Delivery) -> DeliveryKey:
    notification = delivery.notification
    return notification.recipient_id, notification.category, delivery.channel


def load_preferences(
    session: Session, people: Collection[str]
) -> tuple[dict[str, NotificationPreferences], Collection[str]]:
    """Also whose cannot be read: another release may have saved them, and knows more channels."""
    wishes, unread = dict[str, NotificationPreferences](), set[str]()
    for row in session.scalars(select(Preferences).where(Preferences.user_id.in_(people))):
        try:
            wishes[row.user_id] = NotificationPreferences.model_validate(row.wishes)
        except ValidationError:
            logger.exception("the preferences of %s cannot be read", row.user_id)
            unread.add(row.user_id)
    return wishes, unread


def load_suppressions(session: Session, people: Collection[str]) -> dict[DeliveryKey, str]:
    """The reason of each."""
    listed = session.scalars(select(Suppression).where(Suppression.user_id.in_(people)))
    return {(row.user_id, row.category, row.channel): row.reason for row in listed}


def lock_throttles(session: Session, kinds: Sequence[DeliveryKey]) -> dict[DeliveryKey, Throttle]:
    """Locked until the commit, and always in one order, so that a limit is exact."""
    key = Throttle.user_id, Throttle.category, Throttle.channel
    new = [dict(zip(("user_id", "category", "channel"), kind, strict=True)) for kind in kinds]
    session.execute(insert(Throttle).values(recent={}).on_conflict_do_nothing(), new)
    rows = session.scalars(
        select(Throttle).where(tuple_(*key).in_(kinds)).order_by(*key).with_for_update()
    )
    return {(row.user_id, row.category, row.channel): row for row in rows}
