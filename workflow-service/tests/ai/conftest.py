"""A server for each model provider, and a client that calls it."""

from collections.abc import Callable, Iterator

import pytest

from workflow_service.ai import prompts
from workflow_service.ai.client import ModelAnswer, create_model_client
from workflow_service.ai.usage import UsageLog
from workflow_service.settings import settings

from .model_server import ModelServer, serve_model

Summarize = Callable[[str], ModelAnswer]


@pytest.fixture(params=["openai", "anthropic"])
def model_server(request: pytest.FixtureRequest) -> Iterator[ModelServer]:
    with serve_model(request.param) as server:
        yield server


@pytest.fixture
def usage() -> UsageLog:
    return UsageLog()


@pytest.fixture
def summarize(model_server: ModelServer, usage: UsageLog) -> Summarize:
    """Summarises as the service does when only this provider has a key."""
    models = create_model_client(settings.model_copy(update=model_server.settings))
    return lambda text: models.complete(prompts.build_summary_prompt(text), usage)
