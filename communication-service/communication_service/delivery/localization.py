"""Which of the languages of a text a reader gets."""

from collections.abc import Collection

from ..models import Content, Notification
from ..schemas.templates import RenderedText
from .contacts import Contacts, UnknownRecipient


def find_closest_language(available: Collection[str], wanted: str | None) -> str | None:
    """For de-AT it is de-AT, else de, else None: the language of the text itself."""
    tags = {tag.lower(): tag for tag in available}
    subtags = (wanted or "").replace("_", "-").lower().split("-")
    found = (tags.get("-".join(subtags[:length])) for length in range(len(subtags), 0, -1))
    return next(filter(None, found), None)


def get_localized_text(notification: Notification, contacts: Contacts) -> Content | RenderedText:
    """In the recipient's language of this moment; identity is only asked where there is a choice.

    Raises what keeps identity from answering, so that the delivery is made later.
    """
    if not notification.translations:
        return notification
    try:
        locale = contacts.get(notification.recipient_id).get("locale")
    except UnknownRecipient:
        return notification
    tag = find_closest_language(notification.translations, locale)
    return RenderedText(**notification.translations[tag]) if tag else notification
