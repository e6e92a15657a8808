"""Answers without a model: picks the sentences and words that carry most of a text's content.

A word weighs more the more sentences it occurs in (Luhn, 1958), and little if it occurs in nearly
all of them. No list of stop words is needed, so this works in any language.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from math import log, sqrt
from textwrap import shorten

from chassis.schemas import JsonObject

SENTENCE_END_PATTERN = re.compile(r"(?<=[.!?…])[\"'”)]*\s+|\u2029")
WORD_PATTERN = re.compile(r"\w{4,}")
MIN_SCORED_WORDS = 6  # keeps very short sentences from winning
MAX_SENTENCES = 5
MAX_LIST_ITEMS = 8
STEM_CHARACTERS = 5  # words that begin alike are treated as forms of one word
MAX_SENTENCE_CHARACTERS = 400  # anything longer is probably a table or a list
HEADING_LENGTH_RATIO = 0.6  # a heading is shorter than this share of the longest line
PARAGRAPH_SEPARATOR = "\u2029"


def summarize(text: str) -> JsonObject:
    """Return the key sentences in their order; a short text is its own summary."""
    return {"summary": " ".join(select_key_sentences(split_sentences(text)))}


def suggest(text: str) -> JsonObject:
    """Use the heading or first sentence as the title, and the main topics as tags."""
    sentences = split_sentences(text)
    title = shorten(sentences[0], 80, placeholder=" …") if sentences else ""
    return {"title": title, "tags": rank_topics(sentences)[:MAX_SENTENCES]}


def analyze(text: str) -> JsonObject:
    sentences = split_sentences(text)
    figures = [sentence for sentence in sentences if re.search(r"\d", sentence)]
    questions = [sentence for sentence in sentences if sentence.endswith("?")]
    return {
        "topics": rank_topics(sentences)[:MAX_LIST_ITEMS],
        "key_points": select_key_sentences(sentences),
        "figures": figures[:MAX_LIST_ITEMS],
        "questions": questions[:MAX_LIST_ITEMS],
    }


def classify(text: str, labels: Sequence[str]) -> JsonObject:
    """Choose the label whose words the text uses most, or the first label if it uses none."""
    stems = Counter(stem_words(text))
    scores = [sum(stems[stem] for stem in set(stem_words(label))) for label in labels]
    best = scores.index(max(scores))
    return {"label": labels[best], "confidence": round(scores[best] / (sum(scores) or 1), 2)}


def stem_words(text: str) -> list[str]:
    return [word[:STEM_CHARACTERS] for word in re.findall(r"\w{3,}", text.casefold())]


def select_key_sentences(sentences: list[str]) -> list[str]:
    """Return the sentences with the highest scores, in the order of the text."""
    weights = weigh_words(sentences)
    ranked = sorted(range(len(sentences)), key=lambda n: -score_sentence(sentences[n], weights))
    return [sentences[n] for n in sorted(ranked[:MAX_SENTENCES])]


def rank_topics(sentences: list[str]) -> list[str]:
    weights = weigh_words(sentences)
    return sorted(weights, key=lambda word: (-weights[word], word))


def weigh_words(sentences: list[str]) -> dict[str, float]:
    frequency = Counter(word for sentence in sentences for word in find_words(sentence))
    return {word: n * log(len(sentences) / n) for word, n in frequency.items() if n > 1}


def split_sentences(text: str) -> list[str]:
    """Return each sentence once, with single spaces, shortened if it is too long."""
    parts = SENTENCE_END_PATTERN.split("\n".join(mark_headings(text)))
    found = (shorten(part, MAX_SENTENCE_CHARACTERS, placeholder=" …") for part in parts)
    return list(dict.fromkeys(filter(None, found)))


def mark_headings(text: str) -> Iterator[str]:
    """Yield the lines of the text, with a paragraph separator at the end of each heading."""
    lines = [line.strip() for line in text.splitlines()]
    max_length = HEADING_LENGTH_RATIO * max(map(len, lines), default=0)
    for line, following in zip(lines, [*lines[1:], ""], strict=False):
        is_heading = len(line) < max_length and line[-1:].isalnum() and following[:1].isupper()
        yield line + PARAGRAPH_SEPARATOR if is_heading else line


def find_words(sentence: str) -> set[str]:
    return set(WORD_PATTERN.findall(sentence.casefold()))


def score_sentence(sentence: str, weights: dict[str, float]) -> float:
    """Add up the weights of the words, divided so that long sentences do not always win."""
    found = find_words(sentence)
    return sum(weights.get(word, 1) for word in found) / sqrt(max(len(found), MIN_SCORED_WORDS))
