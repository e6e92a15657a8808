"""A summary without any model: the sentences that say most of what the text keeps saying.

A word counts the more, the more sentences hold it (Luhn's idea, 1958), unless nearly all of them
do: then it says nothing. That needs no list of stop words and so works in any language.
"""

import re
from collections import Counter
from collections.abc import Iterator
from math import log, sqrt
from textwrap import shorten

SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”)]*\s+|\u2029")
WORD = re.compile(r"\w{4,}")
MOST_SENTENCES = 5
LONGEST_SENTENCE = 400  # characters: what is longer is a table or a list, not a sentence
HEADING = 0.6  # of the longest line: what is longer and has no full stop goes on in the next line


def summarize(text: str) -> str:
    """The most telling sentences in their order; the text itself when it is short."""
    sentences = sentences_of(text)
    if len(sentences) <= MOST_SENTENCES:
        return " ".join(sentences)
    frequency = Counter(word for sentence in sentences for word in words(sentence))
    weights = {word: n * log(len(sentences) / n) for word, n in frequency.items() if n > 1}
    ranked = sorted(range(len(sentences)), key=lambda n: (-score(sentences[n], weights), n))
    return " ".join(sentences[n] for n in sorted(ranked[:MOST_SENTENCES]))


def sentences_of(text: str) -> list[str]:
    """Its sentences with single spaces, each once; an overlong one is cut."""
    parts = SENTENCE_END.split("\n".join(lines_of(text)))
    found = (shorten(part, LONGEST_SENTENCE, placeholder=" …") for part in parts)
    return list(dict.fromkeys(filter(None, found)))


def lines_of(text: str) -> Iterator[str]:
    """Its lines, each heading with a mark at its end."""
    lines = [line.strip() for line in text.splitlines()]
    short = HEADING * max(map(len, lines), default=0)
    for line, following in zip(lines, [*lines[1:], ""], strict=False):
        heads = len(line) < short and line[-1:].isalnum() and following[:1].isupper()
        yield f"{line}\u2029" if heads else line


def words(sentence: str) -> set[str]:
    return set(WORD.findall(sentence.casefold()))


def score(sentence: str, weights: dict[str, float]) -> float:
    """What its words weigh, with less and less for each further one."""
    found = words(sentence)
    return sum(weights.get(word, 1) for word in found) / sqrt(max(len(found), 6))
