"""Summaries that are made without a model."""

import time

import pytest

from workflow_service.ai import offline
from workflow_service.ai.offline import MAX_SENTENCES, split_sentences

from ..fakes import PROSE


def summarize(text: str) -> str:
    return str(offline.summarize(text)["summary"])


def test_it_picks_the_sentences_with_frequent_words_in_their_order() -> None:
    aside = (
        " Lunch was served at noon." * 1 + " Umbrellas stayed in lockers." + " Bells rang twice."
    )

    summary = summarize(PROSE + aside)

    assert "The sluice of the mill race was repaired" in summary
    assert "Umbrellas" not in summary
    assert summary.index("Closing the mill race saves") < summary.index("The council plans")


def test_another_text_has_another_summary_and_the_same_one_the_same() -> None:
    other = PROSE.replace("mill", "harbour").replace("wheel", "crane")

    assert summarize(PROSE) == summarize(PROSE)
    assert summarize(other) != summarize(PROSE)


def test_a_short_text_is_its_own_summary() -> None:
    assert summarize("  One line.\n\nAnother   line. ") == "One line. Another line."


@pytest.mark.parametrize("text", ["", "   \n ", "...", "word", "🙂" * 10, "\x00"])
def test_a_text_without_sentences_does_no_harm(text: str) -> None:
    assert isinstance(summarize(text), str)


def test_broken_lines_are_joined_and_repeated_sentences_appear_once() -> None:
    assert summarize("The mill\nrace is\n old. Page 1.\nPage 1.") == "The mill race is old. Page 1."


def test_it_works_in_other_languages() -> None:
    german = (
        "Der Mühlgraben speist das alte Rad. Das Rad steht seit der Flut still."
        " Der Mühlgraben kostet die Stadt jedes Jahr viel Geld. Mittags gab es Suppe."
        " Die Stadt soll den Mühlgraben schließen. Das Rad bleibt als Denkmal stehen."
        " Die Glocken läuteten."
    )

    assert "Mühlgraben schließen" in summarize(german)
    assert "Suppe" not in summarize(german)


def test_a_very_long_text_is_summarised_quickly_and_briefly() -> None:
    long_text = "word " * 200_000 + ". ".join(f"Sentence number {n} of many" for n in range(20_000))
    started = time.process_time()

    summary = summarize(long_text)

    assert time.process_time() - started < 5
    assert len(summary) < MAX_SENTENCES * 450


def test_a_heading_does_not_run_into_the_sentence_below_it() -> None:
    page = "What it costs\nThe mill race costs the town a great deal of money\nevery year. Enough."

    heading, sentence, *_ = split_sentences(page)

    assert heading == "What it costs"
    assert sentence == "The mill race costs the town a great deal of money every year."
