"""The passwords that are tried first by whoever guesses."""

import string

from zxcvbn.frequency_lists import FREQUENCY_LISTS  # type: ignore[import-untyped]

# The list alone: the estimates of zxcvbn take seconds for a password made to be slow.
COMMON_PASSWORDS = frozenset(FREQUENCY_LISTS["passwords"])
PADDING_CHARACTERS = string.digits + string.punctuation + " "
LEETSPEAK_TO_LETTERS = str.maketrans("@4301!5$7", "aaeoiisst")


def is_common_password(password: str) -> bool:
    """Whether it is on the list that is tried first, however it was dressed up."""
    word = password.lower()
    cores = {word, word.strip(string.punctuation), word.strip(PADDING_CHARACTERS)}
    return not COMMON_PASSWORDS.isdisjoint(
        cores | {core.translate(LEETSPEAK_TO_LETTERS) for core in cores}
    )
