"""Tells whether a password is on the list of the most common ones, which attackers try first."""

import string

from zxcvbn.frequency_lists import FREQUENCY_LISTS  # type: ignore[import-untyped]

# Only the list of zxcvbn is used: its estimates take seconds for a password made to be slow.
COMMON_PASSWORDS = frozenset(FREQUENCY_LISTS["passwords"])
PADDING_CHARACTERS = string.digits + string.punctuation + " "
LEETSPEAK_TO_LETTERS = str.maketrans("@4301!5$7", "aaeoiisst")


def is_common_password(password: str) -> bool:
    """Also recognises a listed password in capitals, in leetspeak or with digits around it."""
    word = password.lower()
    cores = {word, word.strip(string.punctuation), word.strip(PADDING_CHARACTERS)}
    cores |= {core.translate(LEETSPEAK_TO_LETTERS) for core in cores}
    return not COMMON_PASSWORDS.isdisjoint(cores)
