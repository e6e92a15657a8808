"""Which of the languages of a text a reader gets."""

from collections.abc import Collection

from .contacts import Contacts, UnknownRecipient
from ..models import Content, Notification
from ..schemas.templates import Rendered


def closest(offered: Collection[str], wanted: str | None) -> str | None:
    """For de-AT it is de-AT, else de, else None: the language of the text itself."""
    tags = {tag.lower(): tag for tag in offered}
    subtags = (wanted or "").replace("_", "-").lower().split("-")
    found = (tags.get("-".join(subtags[:length])) for length in range(len(subtags), 0, -1))
    return next(filter(None, found), None)


def words_for(notification: Notification, contacts: Contacts) -> Content | Rendered:
    """In the recipient's language of this moment; identity is only asked where there is a choice.

    Raises what keeps identity from answering, so that the delivery is made later.
    """
    if not notification.translations:
        return notification
    try:
        locale = contacts.of(notification.recipient_id).get("locale")
    except UnknownRecipient:
        return notification
    tag = closest(notification.translations, locale)
    return Rendered(**notification.translations[tag]) if tag else notification
