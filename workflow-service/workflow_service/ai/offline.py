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

SENTENCE_END_PATTERN = re.compile(r"(?<=[.!?…])[\"'”)]*\s+|\u2029")
WORD_PATTERN = re.compile(r"\w{4,}")
MAX_SENTENCES = 5
MAX_LIST_ITEMS = 8
STEM_CHARACTERS = 5  # letters: words that begin alike are taken for forms of one word
MAX_SENTENCE_CHARACTERS = 400  # characters: what is longer is a table or a list, not a sentence
HEADING_LENGTH_RATIO = (
    0.6  # of the longest line: what is longer and has no full stop goes on in the next line
)


def summarize(text: str) -> dict[str, Any]:
    """The most telling sentences in their order; the text itself when it is short."""
    return {"summary": " ".join(select_key_sentences(split_sentences(text)))}


def suggest(text: str) -> dict[str, Any]:
    """For a title, its heading or first sentence; for tags, what it is about."""
    sentences = split_sentences(text)
    title = shorten(sentences[0], 80, placeholder=" …") if sentences else ""
    return {"title": title, "tags": rank_topics(sentences)[:MAX_SENTENCES]}


def analyze(text: str) -> dict[str, Any]:
    sentences = split_sentences(text)
    figures = [sentence for sentence in sentences if re.search(r"\d", sentence)]
    questions = [sentence for sentence in sentences if sentence.endswith("?")]
    return {
        "topics": rank_topics(sentences)[:MAX_LIST_ITEMS],
        "key_points": select_key_sentences(sentences),
        "figures": figures[:MAX_LIST_ITEMS],
        "questions": questions[:MAX_LIST_ITEMS],
    }


def classify(text: str, labels: Sequence[str]) -> dict[str, Any]:
    """The label whose words the text uses most; the first one, if it uses none of any."""
    stems = Counter(stem_words(text))
    scores = [sum(stems[stem] for stem in set(stem_words(label))) for label in labels]
    best = scores.index(max(scores))
    return {"label": labels[best], "confidence": round(scores[best] / (sum(scores) or 1), 2)}


def stem_words(text: str) -> list[str]:
    return [word[:STEM_CHARACTERS] for word in re.findall(r"\w{3,}", text.casefold())]


def select_key_sentences(sentences: list[str]) -> list[str]:
    """The most telling ones, in their order."""
    weights = weigh_words(sentences)
    ranked = sorted(
        range(len(sentences)), key=lambda n: (-score_sentence(sentences[n], weights), n)
    )
    return [sentences[n] for n in sorted(ranked[:MAX_SENTENCES])]


def rank_topics(sentences: list[str]) -> list[str]:
    """The words that weigh most, the heaviest first."""
    weights = weigh_words(sentences)
    return sorted(weights, key=lambda word: (-weights[word], word))


def weigh_words(sentences: list[str]) -> dict[str, float]:
    frequency = Counter(word for sentence in sentences for word in find_words(sentence))
    return {word: n * log(len(sentences) / n) for word, n in frequency.items() if n > 1}


def split_sentences(text: str) -> list[str]:
    """Its sentences with single spaces, each once; an overlong one is cut."""
    parts = SENTENCE_END_PATTERN.split("\n".join(mark_headings(text)))
    found = (shorten(part, MAX_SENTENCE_CHARACTERS, placeholder=" …") for part in parts)
    return list(dict.fromkeys(filter(None, found)))


def mark_headings(text: str) -> Iterator[str]:
    """Its lines, each heading with a mark at its end."""
    lines = [line.strip() for line in text.splitlines()]
    short = HEADING_LENGTH_RATIO * max(map(len, lines), default=0)
    for line, following in zip(lines, [*lines[1:], ""], strict=False):
        heads = len(line) < short and line[-1:].isalnum() and following[:1].isupper()
        yield f"{line}\u2029" if heads else line


def find_words(sentence: str) -> set[str]:
    return set(WORD_PATTERN.findall(sentence.casefold()))


def score_sentence(sentence: str, weights: dict[str, float]) -> float:
    """What its words weigh, with less and less for each further one."""
    found = find_words(sentence)
    return sum(weights.get(word, 1) for word in found) / sqrt(max(len(found), 6))
