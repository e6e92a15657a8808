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
from .prompts import Object, Question
from .providers import Anthropic, ModelRefused, Offline, OpenAI, Provider, Reply, Turn
from .usage import Spent

MOST_CHARACTERS = 100_000  # of a text that is sent to a model; about 25,000 tokens
FENCE = re.compile(r"\A\s*```\w*\n(.*)\n```\s*\Z", re.DOTALL)

PROVIDERS: dict[str, type[Provider]] = {
    "openai": OpenAI,
    "anthropic": Anthropic,
    "offline": Offline,
}


class InvalidAnswer(ModelRefused):
    """The answer is not what was asked for, not even after the model was told so."""


@dataclass(frozen=True)
class Answer:
    """`value` is an object of the question's schema."""

    value: Object
    provider: str
    model: str


class Models:
    """The providers there are, in the order in which they are asked."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._providers = providers

    def ask(self, question: Question, spent: list[Spent]) -> Answer:
        """The first good answer. Each call of a model is added to `spent`, whatever came of it.

        Raises Unavailable when another attempt may work, ModelRefused when none will.
        """
        failures: list[Unavailable | ModelRefused] = []
        for provider in self._providers:
            try:
                value = ask_one(provider, question, spent)
                return Answer(value, provider.name, provider.model)
            except (Unavailable, ModelRefused) as error:
                failures.append(error)
        raise next((e for e in failures if isinstance(e, Unavailable)), failures[-1])


def open_models(settings: Settings) -> Models:
    """Those of AI_PROVIDERS that have a key, in its order; without any, nobody is asked."""
    names = [name for name in settings.ai_providers if settings.has_provider(name)]
    return Models([PROVIDERS[name](settings) for name in names or ["offline"]])


def ask_one(provider: Provider, question: Question, spent: list[Spent]) -> Object:
    # Not taken out: what stands around a mark that is may form another.
    material = question.text[:MOST_CHARACTERS].replace("</document>", "<\\/document>")
    turns: list[Turn] = [{"role": "user", "content": f"<document>\n{material}\n</document>"}]
    fault = ""
    for _ in range(1 + provider.repairs):
        reply, seconds = timed_reply(provider, question, turns, spent)
        value, fault = checked(reply.text, question.schema)
        spent.append(note(provider, "invalid" if fault else "ok", seconds, reply))
        if not fault:
            return dict(value)
        turns.append({"role": "assistant", "content": reply.text})
        turns.append({"role": "user", "content": f"This is wrong: {fault}. Answer again, mended."})
    raise InvalidAnswer(f"{provider.name}'s answer is not valid: {fault}", target=provider.name)


def timed_reply(
    provider: Provider, question: Question, turns: list[Turn], spent: list[Spent]
) -> tuple[Reply, float]:
    started = monotonic()
    try:
        reply = provider.reply(question, turns)
    except (Unavailable, ModelRefused) as error:
        outcome = "busy" if isinstance(error, Unavailable) else "refused"
        spent.append(note(provider, outcome, monotonic() - started))
        raise
    if not reply.text:
        spent.append(note(provider, "refused", monotonic() - started, reply))
        raise ModelRefused(f"{provider.name} answered without a text", target=provider.name)
    return reply, monotonic() - started


NOTHING = Reply("", 0, 0)


def note(provider: Provider, outcome: str, seconds: float, reply: Reply = NOTHING) -> Spent:
    per_input, per_output = provider.prices
    cost = (reply.input_tokens * per_input + reply.output_tokens * per_output) / 1_000_000
    return Spent(
        provider.name,
        provider.model,
        outcome,
        reply.input_tokens,
        reply.output_tokens,
        cost,
        round(seconds, 3),
    )


def checked(text: str, schema: Object) -> tuple[Any, str]:
    """What the text says, and what is wrong with it; nothing, if the second is empty."""
    fenced = FENCE.match(text)
    try:
        value = json.loads(fenced[1] if fenced else text, parse_constant=no_number)
    except ValueError:
        return None, "it is not JSON"
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    for error in validator.iter_errors(value):
        return None, f"{error.json_path}: {error.message}"[:500]
    return value, ""


def no_number(name: str) -> None:
    """NaN and Infinity, which Python would take for JSON."""
    raise ValueError(name)
