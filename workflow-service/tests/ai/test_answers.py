"""Answers that do not match their schema are sent back to the model for correction."""

import json

import pytest

from chassis.errors import Unavailable
from chassis.tracing import trace_context
from workflow_service.ai import prompts
from workflow_service.ai.client import create_model_client
from workflow_service.ai.providers import InvalidAnswer
from workflow_service.ai.usage import UsageLog
from workflow_service.settings import settings

from .conftest import Summarize
from .model_server import REPLIES, SUMMARY, SUMMARY_JSON, ModelServer, build_reply


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ("It is about a mill race.", "not JSON"),
        ("{}", "'summary' is a required property"),
        ('{"summary": 7}', "$.summary: 7 is not of type 'string'"),
        ('{"summary": NaN}', "not JSON"),
        ('{"summary": "x", "approve": true}', "'approve' was unexpected"),
        ("[]", "not of type 'object'"),
    ],
)
def test_a_wrong_answer_is_sent_back_with_its_fault_and_corrected(
    model_server: ModelServer, summarize: Summarize, usage: UsageLog, wrong: str, fault: str
) -> None:
    model_server.set_response(build_reply(model_server.name, wrong))
    model_server.add_response(REPLIES[model_server.name])

    answer = summarize("Text.")

    conversation = model_server.requests[1]["messages"][-2:]
    assert answer.value == SUMMARY
    assert conversation[0] == {"role": "assistant", "content": wrong}
    assert fault in conversation[1]["content"]
    assert [call.outcome for call in usage.calls] == ["invalid", "ok"]


def test_an_answer_in_a_code_fence_is_accepted(
    model_server: ModelServer, summarize: Summarize
) -> None:
    model_server.set_response(build_reply(model_server.name, f"```json\n{SUMMARY_JSON}\n```"))

    assert summarize("Text.").value == SUMMARY


def test_an_answer_that_stays_wrong_is_refused_after_two_repairs(
    model_server: ModelServer, summarize: Summarize, usage: UsageLog
) -> None:
    model_server.set_response(build_reply(model_server.name, "No."))

    with pytest.raises(InvalidAnswer, match=f"{model_server.name}'s answer is not valid"):
        summarize("Text.")

    assert [call.outcome for call in usage.calls] == ["invalid"] * 3
    assert sum(call.output_tokens for call in usage.calls) == 300


def test_bounds_that_a_provider_does_not_support_are_checked_here(
    model_server: ModelServer, usage: UsageLog
) -> None:
    count = {"type": "integer", "minimum": 1, "maximum": 9}
    names = {"type": "array", "items": {"type": "string", "maxLength": 3}, "maxItems": 2}
    schema = prompts.build_object_schema(count=count, names=names, sort={"enum": ["a", "b"]})
    good = {"count": 9, "names": ["Ada"], "sort": "a"}
    model_server.set_response(build_reply(model_server.name, json.dumps({**good, "count": 10})))
    model_server.add_response(build_reply(model_server.name, json.dumps(good)))
    models = create_model_client(settings.model_copy(update=model_server.settings))

    assert models.complete(prompts.build_extraction_prompt("Text.", schema), usage).value == good
    assert (
        "10 is greater than the maximum of 9" in model_server.requests[1]["messages"][-1]["content"]
    )


def test_an_answer_is_not_corrected_when_no_time_is_left(
    model_server: ModelServer, summarize: Summarize, usage: UsageLog
) -> None:
    model_server.set_response(build_reply(model_server.name, "No."), pause=0.2)

    with trace_context(seconds=0.25), pytest.raises(Unavailable):
        summarize("Text.")

    assert len(model_server.requests) <= 2
    assert usage.calls[-1].outcome == "busy"
