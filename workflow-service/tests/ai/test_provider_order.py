"""Several providers: which one is called first, and when the next one is."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from chassis.errors import Unavailable
from workflow_service.ai import prompts
from workflow_service.ai.client import ModelAnswer, create_model_client
from workflow_service.ai.usage import UsageLog
from workflow_service.settings import Settings, settings

from .model_server import REPLIES, ModelServer, serve_model

ModelServers = tuple[ModelServer, ModelServer]


@pytest.fixture
def model_servers() -> Iterator[ModelServers]:
    with ExitStack() as stack:
        first, second = (stack.enter_context(serve_model(name)) for name in REPLIES)
        yield first, second


def complete_with(model_servers: ModelServers, **changes: Any) -> ModelAnswer:
    update = {**model_servers[0].settings, **model_servers[1].settings, **changes}
    models = create_model_client(settings.model_copy(update=update))
    return models.complete(prompts.build_summary_prompt("One. Two."), UsageLog())


def test_openai_comes_first_when_both_have_a_key(
    model_servers: ModelServers,
) -> None:
    assert complete_with(model_servers).provider == "openai"
    assert model_servers[1].requests == []


def test_the_order_can_be_set(model_servers: ModelServers) -> None:
    assert (
        complete_with(model_servers, ai_providers=("anthropic", "openai")).provider == "anthropic"
    )


@pytest.mark.parametrize("status", [429, 500, 401])
def test_the_next_provider_is_called_when_the_first_fails(
    model_servers: ModelServers, status: int
) -> None:
    model_servers[0].set_response({"error": {"message": "no"}}, status)

    assert complete_with(model_servers).provider == "anthropic"


def test_when_all_fail_and_one_may_recover_another_attempt_may_work(
    model_servers: ModelServers,
) -> None:
    model_servers[0].set_response({"error": {"message": "busy"}}, 429)
    model_servers[1].set_response({"error": {"message": "no credit"}}, 401)

    with pytest.raises(Unavailable):
        complete_with(model_servers)


def test_offline_is_the_last_resort_where_it_is_configured(
    model_servers: ModelServers,
) -> None:
    for server in model_servers:
        server.set_response({"error": {"message": "busy"}}, 503)

    answer = complete_with(model_servers, ai_providers=("openai", "anthropic", "offline"))

    assert answer == ModelAnswer({"summary": "One. Two."}, "offline", "extractive")


def test_without_a_key_no_provider_is_called() -> None:
    usage = UsageLog()

    answer = create_model_client(settings).complete(
        prompts.build_summary_prompt("One. Two."), usage
    )

    assert answer.provider == "offline"
    assert (usage.calls[0].outcome, usage.calls[0].cost_usd) == ("ok", 0)


def test_the_order_is_read_from_a_comma_separated_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_PROVIDERS", "anthropic, offline")

    assert Settings().ai_providers == ("anthropic", "offline")
