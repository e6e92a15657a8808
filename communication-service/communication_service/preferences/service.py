"""What a person can say about what they get."""

from typing import Any

from sqlalchemy import delete, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from chassis.auth import User

from ..models import Preferences, Suppression, now
from ..schemas.preferences import NotificationPreferences
from ..settings import Settings


def get_preferences(session: Session, user: User, settings: Settings) -> dict[str, Any]:
    row = session.get(Preferences, user.user_id)
    listed = select(Suppression).where(Suppression.user_id == user.user_id)
    return {
        **(row.wishes if row else NotificationPreferences().model_dump()),
        "default_limits": settings.category_limits,
        "mandatory_categories": settings.mandatory_categories,
        "suppressions": session.scalars(listed.order_by(Suppression.id)).all(),
    }


def put_preferences(
    session: Session, user: User, preferences: NotificationPreferences, settings: Settings
) -> dict[str, Any]:
    """Takes the place of what was said before, an unsubscription of the same included."""
    values = {"wishes": preferences.model_dump(mode="json"), "updated_at": now()}
    new = insert(Preferences).values(user_id=user.user_id, **values)
    session.execute(new.on_conflict_do_update(index_elements=[Preferences.user_id], set_=values))
    wanted = [
        (category, channel)
        for category, channels in preferences.categories.items()
        for channel, is_on in channels.items()
        if is_on
    ]
    session.execute(
        delete(Suppression).where(
            Suppression.user_id == user.user_id,
            Suppression.author_id.is_(None),
            tuple_(Suppression.category, Suppression.channel).in_(wanted),
        )
    )
    return get_preferences(session, user, settings)
