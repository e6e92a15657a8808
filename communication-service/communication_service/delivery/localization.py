"""Chooses the language in which a recipient gets a notification."""

from ..models import Content, Notification
from ..schemas.templates import RenderedText
from ..templates.translations import find_closest_language
from .contacts import Contacts, UnknownRecipient


def get_localized_text(notification: Notification, contacts: Contacts) -> Content | RenderedText:
    """Returns the text in the recipient's language; raises, for a retry, while identity is down."""
    if not notification.translations:
        return notification
    try:
        locale = contacts.get(notification.recipient_id).get("locale")
    except UnknownRecipient:
        return notification
    tag = find_closest_language(notification.translations, locale)
    return RenderedText(**notification.translations[tag]) if tag else notification
