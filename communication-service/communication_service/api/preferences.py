"""Preferences: what the caller wants to receive, on which channel and when."""

from chassis.auth import CurrentUser
from chassis.routing import APIRouter

from ..database import DbSession
from ..preferences import service
from ..schemas.preferences import NotificationPreferences, PreferencesRead
from .dependencies import CurrentSettings

router = APIRouter(prefix="/preferences", tags=["Preferences"])


@router.get("", response_model=PreferencesRead)
def get_preferences(
    user: CurrentUser, session: DbSession, settings: CurrentSettings
) -> PreferencesRead:
    """Get the caller's preferences, with the defaults and suppressions that also apply."""
    return service.get_preferences(session, user, settings)


@router.put("", response_model=PreferencesRead)
def replace_preferences(
    new: NotificationPreferences, user: CurrentUser, session: DbSession, settings: CurrentSettings
) -> PreferencesRead:
    """Replace the caller's preferences; turning a channel on also ends an unsubscription."""
    return service.put_preferences(session, user, new, settings)
