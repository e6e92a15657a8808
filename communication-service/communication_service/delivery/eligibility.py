"""Decides at send time which deliveries go out: loads the facts and applies rules.py to them."""

import logging
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import ValidationError
from sqlalchemy import select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from chassis.job_queue import PENDING

from ..categories import EVERY_CATEGORY, RateLimit
from ..models import SUPPRESSED, URGENT, Delivery, Preferences, Suppression, Throttle
from ..schemas.preferences import NotificationPreferences
from ..settings import Settings
from .queue import JobResult, finish_jobs
from .rules import SEND, Decision, DeliveryFacts, decide

logger = logging.getLogger(__name__)

NO_PREFERENCES = NotificationPreferences()
UNREADABLE_RETRY_DELAY = timedelta(minutes=5)


class DeliveryKey(NamedTuple):
    """Identifies a suppression or a rate limit."""

    user_id: str
    category: str
    channel: str


def find_eligible(session: Session, claimed: list[Delivery], settings: Settings) -> list[Delivery]:
    """Returns the deliveries to send now; suppresses or postpones the others, with a reason."""
    if not claimed:
        return []
    facts = RecipientFacts(session, claimed, settings)
    now = claimed[0].get_claim_time(settings.lease)
    eligible: list[Delivery] = []
    others: list[JobResult] = []
    for delivery in claimed:
        decision = facts.decide(delivery, now)
        if decision == SEND:
            eligible.append(delivery)
        else:
            others.append(build_job_result(delivery, decision, now))
    finish_jobs(session, others)
    return eligible


def build_job_result(delivery: Delivery, decision: Decision, now: datetime) -> JobResult:
    if decision.until is None:
        return JobResult(delivery, SUPPRESSED, decision.reason, counts=False)
    delay = (decision.until - now).total_seconds()
    return JobResult(delivery, PENDING, decision.reason, delay=delay, counts=False)


class RecipientFacts:
    """Holds what the rules need to know about the recipients of a batch."""

    def __init__(self, session: Session, claimed: list[Delivery], settings: Settings) -> None:
        self._settings = settings
        user_ids = {delivery.notification.recipient_id for delivery in claimed}
        self._preferences, self._unreadable = load_preferences(session, user_ids)
        self._suppressions = load_suppressions(session, user_ids)
        keys = sorted({get_key(delivery) for delivery in claimed})
        limited = [key for key in keys if self._find_limit(key)]
        self._throttles = lock_throttles(session, limited) if limited else {}

    def decide(self, delivery: Delivery, now: datetime) -> Decision:
        """Applies the rules, and counts the delivery against its limit when it is sent."""
        key = get_key(delivery)
        if key.user_id in self._unreadable and not self._is_mandatory(key.category):
            reason = "The recipient's preferences cannot be read"
            return Decision(reason, now + UNREADABLE_RETRY_DELAY)
        recent = self._get_recent(delivery, key, now)
        decision = decide(self._build_facts(delivery, key, len(recent)), now)
        if decision == SEND and key in self._throttles:
            sent = {str(delivery.notification_id): now.timestamp()}
            self._throttles[key].recent = {**recent, **sent}
        return decision

    def _build_facts(self, delivery: Delivery, key: DeliveryKey, recent: int) -> DeliveryFacts:
        everywhere = key._replace(category=EVERY_CATEGORY)
        suppressions = self._suppressions
        return DeliveryFacts(
            category=key.category,
            channel=key.channel,
            is_mandatory=self._is_mandatory(key.category),
            is_urgent=delivery.priority == URGENT,
            suppression_reason=suppressions.get(key) or suppressions.get(everywhere),
            preferences=self._preferences.get(key.user_id, NO_PREFERENCES),
            limit=self._find_limit(key),
            recent_count=recent,
        )

    def _is_mandatory(self, category: str) -> bool:
        return category in self._settings.mandatory_categories

    def _find_limit(self, key: DeliveryKey) -> RateLimit | None:
        """Prefers the recipient's own limits to those of the settings."""
        if self._is_mandatory(key.category):
            return None
        preferences = self._preferences.get(key.user_id, NO_PREFERENCES)
        for limits in (preferences.limits, self._settings.category_limits):
            for category in (key.category, EVERY_CATEGORY):
                if category in limits:
                    return limits[category]
        return None

    def _get_recent(self, delivery: Delivery, key: DeliveryKey, now: datetime) -> dict[str, float]:
        """Returns when others of this key were sent; a retry is not counted again."""
        limit = self._find_limit(key)
        if limit is None:
            return {}
        begin = now.timestamp() - limit.seconds
        own_id = str(delivery.notification_id)
        sent = self._throttles[key].recent.items()
        return {other: at for other, at in sent if at > begin and other != own_id}


def get_key(delivery: Delivery) -> DeliveryKey:
    notification = delivery.notification
    return DeliveryKey(notification.recipient_id, notification.category, delivery.channel)


def load_preferences(
    session: Session, user_ids: Collection[str]
) -> tuple[dict[str, NotificationPreferences], set[str]]:
    """Returns the preferences by user, and the users whose preferences this release cannot read."""
    preferences: dict[str, NotificationPreferences] = {}
    unreadable: set[str] = set()
    for row in session.scalars(select(Preferences).where(Preferences.user_id.in_(user_ids))):
        try:
            preferences[row.user_id] = NotificationPreferences.model_validate(row.preferences)
        except ValidationError:
            logger.exception("The preferences of user %s cannot be read", row.user_id)
            unreadable.add(row.user_id)
    return preferences, unreadable


def load_suppressions(session: Session, user_ids: Collection[str]) -> dict[DeliveryKey, str]:
    """Returns the reason of each suppression."""
    rows = session.scalars(select(Suppression).where(Suppression.user_id.in_(user_ids)))
    return {DeliveryKey(row.user_id, row.category, row.channel): row.reason for row in rows}


def lock_throttles(session: Session, keys: Sequence[DeliveryKey]) -> dict[DeliveryKey, Throttle]:
    """Locks the counters until the commit, so that a limit is exact; always in the same order."""
    columns = (Throttle.user_id, Throttle.category, Throttle.channel)
    new = [key._asdict() for key in keys]
    session.execute(insert(Throttle).values(recent={}).on_conflict_do_nothing(), new)
    query = select(Throttle).where(tuple_(*columns).in_(keys)).order_by(*columns)
    rows = session.scalars(query.with_for_update())
    return {DeliveryKey(row.user_id, row.category, row.channel): row for row in rows}
