"""Completes a prompt: tries each provider in turn, checks its answer and asks for corrections."""

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from jsonschema import Draft202012Validator, FormatChecker

from chassis.errors import Unavailable
from chassis.schemas import JsonObject

from ..settings import Settings
from .prompts import Prompt
from .providers import PROVIDER_CLASSES, ChatMessage, InvalidAnswer, ModelRefused, Provider
from .usage import UsageLog

MAX_DOCUMENT_CHARACTERS = 100_000  # about 25,000 tokens
MAX_FAULT_CHARACTERS = 500
CODE_FENCE_PATTERN = re.compile(r"\A\s*```\w*\n(.*)\n```\s*\Z", re.DOTALL)


class ModelAnswer(NamedTuple):
    value: JsonObject  # matches the schema of its prompt
    provider: str
    model: str


class ModelClient:
    """Calls the configured providers, in order, until one gives a valid answer."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._providers = providers

    def complete(self, prompt: Prompt, usage: UsageLog) -> ModelAnswer:
        """Return a valid answer. Raises Unavailable if a retry may help, else ModelRefused."""
        failures: list[Unavailable | ModelRefused] = []
        for provider in self._providers:
            try:
                value = complete_with_provider(provider, prompt, usage)
                return ModelAnswer(value, provider.name, provider.model)
            except (Unavailable, ModelRefused) as error:
                failures.append(error)
        temporary = [failure for failure in failures if isinstance(failure, Unavailable)]
        raise temporary[0] if temporary else failures[-1]


def create_model_client(settings: Settings) -> ModelClient:
    """Use the providers in AI_PROVIDERS that have a key, in that order; without any, `Offline`."""
    names = [name for name in settings.ai_providers if settings.has_provider(name)]
    return ModelClient([PROVIDER_CLASSES[name](settings) for name in names or ["offline"]])


def complete_with_provider(provider: Provider, prompt: Prompt, usage: UsageLog) -> JsonObject:
    """Call one provider, which may correct an invalid answer `max_repairs` times."""
    conversation: list[ChatMessage] = [{"role": "user", "content": quote_document(prompt.text)}]
    for _ in range(provider.max_repairs):
        try:
            return request_answer(provider, prompt, conversation, usage)
        except InvalidAnswer as error:
            correction = f"This answer is not valid: {error.fault}. Send a corrected answer."
            conversation.append({"role": "assistant", "content": error.text})
            conversation.append({"role": "user", "content": correction})
    return request_answer(provider, prompt, conversation, usage)


def quote_document(text: str) -> str:
    """Wrap the text in document tags that it cannot close."""
    # A closing tag is escaped, not removed: the parts around it could form a new one.
    safe_text = text[:MAX_DOCUMENT_CHARACTERS].replace("</document>", "<\\/document>")
    return f"<document>\n{safe_text}\n</document>"


def request_answer(
    provider: Provider, prompt: Prompt, conversation: list[ChatMessage], usage: UsageLog
) -> JsonObject:
    """Make one call and check its answer. Raises InvalidAnswer, and the provider's errors."""
    with usage.record_call(provider.name, provider.model) as call:
        reply = provider.generate_reply(prompt, conversation)
        call.input_tokens = reply.input_tokens
        call.output_tokens = reply.output_tokens
        call.cost_usd = provider.prices.compute_cost(reply)
        if not reply.text:
            raise ModelRefused(f"{provider.name} answered without any text", target=provider.name)
        return parse_answer(provider.name, reply.text, prompt.schema)


def parse_answer(provider: str, text: str, schema: JsonObject) -> JsonObject:
    """Read the JSON object in a reply, also from a code fence. Raises InvalidAnswer."""
    fenced = CODE_FENCE_PATTERN.match(text)
    try:
        value = json.loads(fenced[1] if fenced else text, parse_constant=reject_constant)
    except ValueError as error:
        raise InvalidAnswer(provider, "it is not JSON", text) from error
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    fault = next(validator.iter_errors(value), None)
    if fault is not None:
        message = f"{fault.json_path}: {fault.message}"[:MAX_FAULT_CHARACTERS]
        raise InvalidAnswer(provider, message, text)
    return dict(value)


def reject_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python accepts and JSON does not have."""
    raise ValueError(name)
