"""Labels, facts, suggestions and analyses that are made without a model."""

from typing import Any

import pytest

from workflow_service.ai import prompts
from workflow_service.ai.client import ModelAnswer, ModelClient
from workflow_service.ai.prompts import Prompt
from workflow_service.ai.providers import InvalidAnswer, Offline
from workflow_service.ai.usage import UsageLog
from workflow_service.settings import settings

from ..fakes import PROSE

INVOICE = """Invoice number: 2024-0117
Issued on 2026-03-02 to Mill Town Council, council@mill.example.
The total is 1,250.50 euros. Paid: no. Currency: EUR
Items: sluice repair, new hinges and transport
Priority is HIGH; the deadline was 2026-04-01.
"""


def complete_offline(prompt: Prompt) -> ModelAnswer:
    return ModelClient([Offline(settings)]).complete(prompt, UsageLog())


def extract_fields(**fields: dict[str, Any]) -> dict[str, Any]:
    return complete_offline(
        prompts.build_extraction_prompt(INVOICE, {"type": "object", "properties": fields})
    ).value


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ({"invoice_number": {"type": "string"}}, "2024-0117"),
        ({"total": {"type": "number"}}, 1250.5),
        ({"paid": {"type": "boolean"}}, False),
        ({"currency": {"type": "string", "enum": ["USD", "EUR"]}}, "EUR"),
        ({"deadline": {"type": "string", "format": "date"}}, "2026-04-01"),
        ({"issued": {"type": "string", "format": "date"}}, "2026-03-02"),
        ({"contact": {"type": "string", "format": "email"}}, "council@mill.example"),
        ({"priority": {"type": "string"}}, "HIGH"),
        (
            {"items": {"type": "array", "items": {"type": "string"}}},
            ["sluice repair", "new hinges", "transport"],
        ),
        ({"sum": {"type": "number", "title": "Total"}}, 1250.5),
    ],
)
def test_a_fact_is_found_after_its_name_or_by_its_format(
    field: dict[str, Any], expected: Any
) -> None:
    assert extract_fields(**field) == {next(iter(field)): expected}


def test_a_fact_that_the_text_does_not_mention_is_left_out() -> None:
    assert extract_fields(discount={"type": "number"}) == {}


def test_an_answer_without_a_required_fact_is_invalid() -> None:
    schema = {"type": "object", "properties": {"discount": {"type": "number"}},
              "required": ["discount"]}  # fmt: skip

    with pytest.raises(InvalidAnswer, match="'discount' is a required property"):
        complete_offline(prompts.build_extraction_prompt(INVOICE, schema))


@pytest.mark.parametrize(
    ("text", "label"),
    [("The sluices need repairing; repairs are due.", "Repair"), ("A budget for 2027.", "Budget")],
)
def test_the_label_is_the_one_whose_words_the_text_uses(text: str, label: str) -> None:
    answer = complete_offline(prompts.build_classification_prompt(text, ["Budget", "Repair"])).value

    assert answer == {"label": label, "confidence": 1.0}


def test_a_text_that_matches_no_label_is_classified_with_zero_confidence() -> None:
    assert (
        complete_offline(prompts.build_classification_prompt("Hello.", ["Budget", "Repair"])).value[
            "confidence"
        ]
        == 0
    )


def test_a_suggestion_has_a_title_and_topics_as_tags() -> None:
    found = complete_offline(
        prompts.build_suggestion_prompt("Closing the mill race\n" + PROSE)
    ).value

    assert found["title"] == "Closing the mill race"
    assert {"mill", "race"} <= set(found["tags"])


def test_an_analysis_has_topics_points_figures_and_questions() -> None:
    found = complete_offline(
        prompts.build_analysis_prompt(PROSE + " Who pays for the 3 hinges?")
    ).value

    assert "mill" in found["topics"]
    assert "The wheel has not turned since the flood of 1998." in found["figures"]
    assert found["questions"] == ["Who pays for the 3 hinges?"]
    assert found["key_points"]


@pytest.mark.parametrize("text", ["   ", "...", "x", "🙂" * 10])
def test_unusual_texts_have_an_analysis_too(text: str) -> None:
    assert set(complete_offline(prompts.build_analysis_prompt(text)).value) == {
        "topics", "key_points", "figures", "questions",
    }  # fmt: skip
