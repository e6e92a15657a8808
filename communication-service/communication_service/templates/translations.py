"""Chooses the language of a text for a reader."""

from collections.abc import Collection


def find_closest_language(available: Collection[str], wanted: str | None) -> str | None:
    """Returns, for de-AT, de-AT, else de, else None, which means the text's own language."""
    tags = {tag.lower(): tag for tag in available}
    subtags = (wanted or "").replace("_", "-").lower().split("-")
    for length in range(len(subtags), 0, -1):
        if tag := tags.get("-".join(subtags[:length])):
            return tag
    return None
