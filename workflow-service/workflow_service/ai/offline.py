"""A summary without any model: the sentences that say most of what the text keeps saying.

Sentences are scored by how frequent their words are in the whole text (Luhn's idea, 1958). Short
words are left out of the count, which needs no list of stop words and so works in any language.
"""

import re
from collections import Counter

SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”)]*\s+")
WORD = re.compile(r"\w{4,}")
MOST_SENTENCES = 5
LONGEST_SENTENCE = 400  # characters: what is longer is a table or a list, not a sentence


def summarize(text: str) -> str:
    """The most telling sentences in their order; the text itself when it is short."""
    sentences = sentences_of(text)
    if len(sentences) <= MOST_SENTENCES:
        return " ".join(sentences)
    frequency = Counter(word for sentence in sentences for word in words(sentence))
    ranked = sorted(range(len(sentences)), key=lambda n: (-score(sentences[n], frequency), n))
    return " ".join(sentences[n] for n in sorted(ranked[:MOST_SENTENCES]))


def sentences_of(text: str) -> list[str]:
    """Its sentences with single spaces, each once; an overlong one is cut."""
    found = (" ".join(part.split()) for part in SENTENCE_END.split(text))
    return list(dict.fromkeys(shorten(sentence) for sentence in found if sentence))


def shorten(sentence: str) -> str:
    if len(sentence) <= LONGEST_SENTENCE:
        return sentence
    return sentence[:LONGEST_SENTENCE].rpartition(" ")[0] + " …"


def words(sentence: str) -> set[str]:
    return set(WORD.findall(sentence.casefold()))


def score(sentence: str, frequency: Counter[str]) -> float:
    """The mean frequency of its words; headings and fragments of a word or two count little."""
    found = words(sentence)
    return sum(frequency[word] for word in found) / max(len(found), 6)
