"""Answers without any model: the sentences and words that say most of what a text keeps saying.

A word counts the more, the more sentences hold it (Luhn's idea, 1958), unless nearly all of them
do: then it says nothing. That needs no list of stop words and so works in any language.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from math import log, sqrt
from textwrap import shorten
from typing import Any

SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”)]*\s+|\u2029")
WORD = re.compile(r"\w{4,}")
MOST_SENTENCES = 5
MOST_OF_A_KIND = 8
STEM = 5  # letters: words that begin alike are taken for forms of one word
LONGEST_SENTENCE = 400  # characters: what is longer is a table or a list, not a sentence
HEADING = 0.6  # of the longest line: what is longer and has no full stop goes on in the next line


def summarize(text: str) -> dict[str, Any]:
    """The most telling sentences in their order; the text itself when it is short."""
    return {"summary": " ".join(telling(sentences_of(text)))}


def suggest(text: str) -> dict[str, Any]:
    """For a title, its heading or first sentence; for tags, what it is about."""
    sentences = sentences_of(text)
    title = shorten(sentences[0], 80, placeholder=" …") if sentences else ""
    return {"title": title, "tags": topics(sentences)[:MOST_SENTENCES]}


def analyze(text: str) -> dict[str, Any]:
    sentences = sentences_of(text)
    figures = [sentence for sentence in sentences if re.search(r"\d", sentence)]
    questions = [sentence for sentence in sentences if sentence.endswith("?")]
    return {
        "topics": topics(sentences)[:MOST_OF_A_KIND],
        "key_points": telling(sentences),
        "figures": figures[:MOST_OF_A_KIND],
        "questions": questions[:MOST_OF_A_KIND],
    }


def classify(text: str, labels: Sequence[str]) -> dict[str, Any]:
    """The label whose words the text uses most; the first one, if it uses none of any."""
    stems = Counter(stems_of(text))
    scores = [sum(stems[stem] for stem in set(stems_of(label))) for label in labels]
    best = scores.index(max(scores))
    return {"label": labels[best], "confidence": round(scores[best] / (sum(scores) or 1), 2)}


def stems_of(text: str) -> list[str]:
    return [word[:STEM] for word in re.findall(r"\w{3,}", text.casefold())]


def telling(sentences: list[str]) -> list[str]:
    """The most telling ones, in their order."""
    weights = weights_of(sentences)
    ranked = sorted(range(len(sentences)), key=lambda n: (-score(sentences[n], weights), n))
    return [sentences[n] for n in sorted(ranked[:MOST_SENTENCES])]


def topics(sentences: list[str]) -> list[str]:
    """The words that weigh most, the heaviest first."""
    weights = weights_of(sentences)
    return sorted(weights, key=lambda word: (-weights[word], word))


def weights_of(sentences: list[str]) -> dict[str, float]:
    frequency = Counter(word for sentence in sentences for word in words(sentence))
    return {word: n * log(len(sentences) / n) for word, n in frequency.items() if n > 1}


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
