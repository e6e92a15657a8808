"""The passwords that are tried first by whoever guesses."""

import string

from zxcvbn.frequency_lists import FREQUENCY_LISTS  # type: ignore[import-untyped]

# The list alone: the estimates of zxcvbn take seconds for a password made to be slow.
COMMON = frozenset(FREQUENCY_LISTS["passwords"])
ADDED = string.digits + string.punctuation + " "
PLAIN = str.maketrans("@4301!5$7", "aaeoiisst")


def is_common(password: str) -> bool:
    """Whether it is on the list that is tried first, however it was dressed up."""
    word = password.lower()
    cores = {word, word.strip(string.punctuation), word.strip(ADDED)}
    return not COMMON.isdisjoint(cores | {core.translate(PLAIN) for core in cores})
