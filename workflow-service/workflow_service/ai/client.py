"""Asking a question: one provider after the other, each answer checked, and repaired if need be."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from chassis.errors import Unavailable

from ..settings import Settings
from .prompts import Object, Prompt
from .providers import Anthropic, ChatMessage, ModelRefused, Offline, OpenAI, Provider, Reply
from .usage import ModelCall

MAX_DOCUMENT_CHARACTERS = 100_000  # of a text that is sent to a model; about 25,000 tokens
CODE_FENCE_PATTERN = re.compile(r"\A\s*```\w*\n(.*)\n```\s*\Z", re.DOTALL)

PROVIDER_CLASSES: dict[str, type[Provider]] = {
    "openai": OpenAI,
    "anthropic": Anthropic,
    "offline": Offline,
}


class InvalidAnswer(ModelRefused):
    """The answer is not what was asked for, not even after the model was told so."""


@dataclass(frozen=True)
class ModelAnswer:
    """`value` is an object of the question's schema."""

    value: Object
    provider: str
    model: str


class ModelClient:
    """The providers there are, in the order in which they are asked."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._providers = providers

    def complete(self, prompt: Prompt, spent: list[ModelCall]) -> ModelAnswer:
        """The first good answer. Each call of a model is added to `spent`, whatever came of it.

        Raises Unavailable when another attempt may work, ModelRefused when none will.
        """
        failures: list[Unavailable | ModelRefused] = []
        for provider in self._providers:
            try:
                value = complete_with_provider(provider, prompt, spent)
                return ModelAnswer(value, provider.name, provider.model)
            except (Unavailable, ModelRefused) as error:
                failures.append(error)
        raise next((e for e in failures if isinstance(e, Unavailable)), failures[-1])


def create_model_client(settings: Settings) -> ModelClient:
    """Those of AI_PROVIDERS that have a key, in its order; without any, nobody is asked."""
    names = [name for name in settings.ai_providers if settings.has_provider(name)]
    return ModelClient([PROVIDER_CLASSES[name](settings) for name in names or ["offline"]])


def complete_with_provider(provider: Provider, prompt: Prompt, spent: list[ModelCall]) -> Object:
    # Not taken out: what stands around a mark that is may form another.
    material = prompt.text[:MAX_DOCUMENT_CHARACTERS].replace("</document>", "<\\/document>")
    turns: list[ChatMessage] = [{"role": "user", "content": f"<document>\n{material}\n</document>"}]
    fault = ""
    for _ in range(1 + provider.max_repairs):
        reply, seconds = request_reply(provider, prompt, turns, spent)
        value, fault = parse_answer(reply.text, prompt.schema)
        spent.append(note(provider, "invalid" if fault else "ok", seconds, reply))
        if not fault:
            return dict(value)
        turns.append({"role": "assistant", "content": reply.text})
        turns.append({"role": "user", "content": f"This is wrong: {fault}. Answer again, mended."})
    raise InvalidAnswer(f"{provider.name}'s answer is not valid: {fault}", target=provider.name)


def request_reply(
    provider: Provider, prompt: Prompt, turns: list[ChatMessage], spent: list[ModelCall]
) -> tuple[Reply, float]:
    started = monotonic()
    try:
        reply = provider.generate_reply(prompt, turns)
    except (Unavailable, ModelRefused) as error:
        outcome = "busy" if isinstance(error, Unavailable) else "refused"
        spent.append(note(provider, outcome, monotonic() - started))
        raise
    if not reply.text:
        spent.append(note(provider, "refused", monotonic() - started, reply))
        raise ModelRefused(f"{provider.name} answered without a text", target=provider.name)
    return reply, monotonic() - started


NOTHING = Reply("", 0, 0)


def note(provider: Provider, outcome: str, seconds: float, reply: Reply = NOTHING) -> ModelCall:
    per_input, per_output = provider.prices
    cost = (reply.input_tokens * per_input + reply.output_tokens * per_output) / 1_000_000
    return ModelCall(
        provider.name,
        provider.model,
        outcome,
        reply.input_tokens,
        reply.output_tokens,
        cost,
        round(seconds, 3),
    )


def parse_answer(text: str, schema: Object) -> tuple[Any, str]:
    """What the text says, and what is wrong with it; nothing, if the second is empty."""
    fenced = CODE_FENCE_PATTERN.match(text)
    try:
        value = json.loads(fenced[1] if fenced else text, parse_constant=reject_constant)
    except ValueError:
        return None, "it is not JSON"
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    for error in validator.iter_errors(value):
        return None, f"{error.json_path}: {error.message}"[:500]
    return value, ""


def reject_constant(name: str) -> None:
    """NaN and Infinity, which Python would take for JSON."""
    raise ValueError(name)
