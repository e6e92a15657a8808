"""Reads and saves what a user wants to receive."""

from sqlalchemy import delete, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.clock import now

from ..models import Preferences, Suppression
from ..schemas.preferences import NotificationPreferences, PreferencesRead
from ..settings import Settings


def get_preferences(session: Session, user: User, settings: Settings) -> PreferencesRead:
    row = session.get(Preferences, user.user_id)
    query = select(Suppression).where(Suppression.user_id == user.user_id).order_by(Suppression.id)
    return PreferencesRead.model_validate(
        {
            **(row.preferences if row else NotificationPreferences().model_dump()),
            "default_limits": settings.category_limits,
            "mandatory_categories": settings.mandatory_categories,
            "suppressions": session.scalars(query).all(),
        }
    )


def put_preferences(
    session: Session, user: User, new: NotificationPreferences, settings: Settings
) -> PreferencesRead:
    """Replaces the preferences; turning a channel on also ends an unsubscription from it."""
    values = {"preferences": new.model_dump(mode="json"), "updated_at": now()}
    row = insert(Preferences).values(user_id=user.user_id, **values)
    session.execute(row.on_conflict_do_update(index_elements=[Preferences.user_id], set_=values))
    turned_on = [
        (category, channel)
        for category, channels in new.categories.items()
        for channel, is_on in channels.items()
        if is_on
    ]
    is_own = (Suppression.user_id == user.user_id) & Suppression.author_id.is_(None)
    is_turned_on = tuple_(Suppression.category, Suppression.channel).in_(turned_on)
    session.execute(delete(Suppression).where(is_own, is_turned_on))
    return get_preferences(session, user, settings)
