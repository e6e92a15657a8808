"""Who answers: OpenAI, Anthropic, or whatever speaks their APIs, through the official SDKs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from json import dumps
from typing import Any, ClassVar, Protocol

from chassis.errors import BadGateway, Unavailable
from chassis.service_client import parse_retry_after
from chassis.tracing import get_seconds_left

from ..settings import Settings
from .prompts import Prompt

MAX_ANSWER_TOKENS = 4_000  # of an answer, a model's thinking included

ChatMessage = dict[str, str]
"""What was said: {"role": "user" or "assistant", "content": ...}."""


@dataclass(frozen=True)
class Reply:
    text: str
    input_tokens: int
    output_tokens: int


class ModelRefused(BadGateway):
    """The provider declined, or said nothing: a wrong key, no credit, a filter."""


class Provider(Protocol):
    """`prices` are US dollars for a million tokens, of what is asked and of what is answered.

    `repairs` is how often it is told what is wrong with its answer.
    """

    name: ClassVar[str]
    max_repairs: ClassVar[int] = 2
    model: str
    prices: tuple[float, float]

    def __init__(self, settings: Settings) -> None: ...

    def generate_reply(self, prompt: Prompt, conversation: list[ChatMessage]) -> Reply:
        """Raises Unavailable when another attempt may work, ModelRefused when none will."""


class OpenAI(Provider):
    name = "openai"

    def __init__(self, settings: Settings) -> None:
        import openai  # an SDK takes a second or two to import, so only those in use are

        self._sdk = openai
        self._client = openai.OpenAI(
            api_key=settings.openai_api_key.get_secret_value(),
            base_url=settings.openai_base_url,
            max_retries=0,  # the engine retries, and remembers that it did
        )
        self.model, self._seconds = settings.openai_model, settings.ai_timeout_seconds
        self.prices = settings.openai_input_price, settings.openai_output_price

    def generate_reply(self, prompt: Prompt, conversation: list[ChatMessage]) -> Reply:
        shape: Any = {"name": "answer", "schema": prompt.schema}
        messages: Any = [{"role": "system", "content": prompt.system_message}, *conversation]
        with translate_sdk_errors(self.name, self._sdk):
            answer = self._client.chat.completions.create(
                model=self.model,
                max_completion_tokens=MAX_ANSWER_TOKENS,
                messages=messages,
                response_format={"type": "json_schema", "json_schema": shape},
                timeout=limit_timeout(self.name, self._seconds),
            )
            text, usage = answer.choices[0].message.content or "", answer.usage
            if usage is None:  # not every server that speaks this API counts
                return Reply(text.strip(), 0, 0)
            return Reply(text.strip(), usage.prompt_tokens, usage.completion_tokens)


class Anthropic(Provider):
    name = "anthropic"

    def __init__(self, settings: Settings) -> None:
        import anthropic

        self._sdk = anthropic
        self._client = anthropic.Anthropic(
            api_key=settings.anthropic_api_key.get_secret_value(),
            base_url=settings.anthropic_base_url,
            max_retries=0,
        )
        self.model, self._seconds = settings.anthropic_model, settings.ai_timeout_seconds
        self.prices = settings.anthropic_input_price, settings.anthropic_output_price

    def generate_reply(self, prompt: Prompt, conversation: list[ChatMessage]) -> Reply:
        messages: Any = conversation
        with translate_sdk_errors(self.name, self._sdk):
            # Without lengths and bounds, which this API refuses; we check the answer for them.
            schema = self._sdk.transform_schema(prompt.schema)
            answer = self._client.messages.create(
                model=self.model,
                max_tokens=MAX_ANSWER_TOKENS,
                system=prompt.system_message,
                messages=messages,
                output_config={"format": {"type": "json_schema", "schema": schema}},
                timeout=limit_timeout(self.name, self._seconds),
            )
            text = "".join(block.text for block in answer.content if block.type == "text")
            return Reply(text.strip(), answer.usage.input_tokens, answer.usage.output_tokens)


class Offline(Provider):
    """Works on the text itself: always there, always the same, and free."""

    name = "offline"
    max_repairs = 0  # it would only say the same again

    def __init__(self, settings: Settings) -> None:
        self.model, self.prices = "extractive", (0.0, 0.0)

    def generate_reply(self, prompt: Prompt, conversation: list[ChatMessage]) -> Reply:
        return Reply(dumps(prompt.answer_offline(prompt.text)), 0, 0)


def limit_timeout(provider: str, seconds: float) -> float:
    """No more than what is left to the step or the request that asks."""
    if (left := get_seconds_left()) <= 0:
        raise Unavailable(f"There was no time left to ask {provider}", target=provider)
    return min(seconds, left)


@contextmanager
def translate_sdk_errors(provider: str, sdk: Any) -> Iterator[None]:
    """An SDK's errors as ours; those of both SDKs have the same names."""
    try:
        yield
    except sdk.APIConnectionError as error:
        raise Unavailable(f"{provider} does not answer", target=provider) from error
    except sdk.APIStatusError as error:
        raise translate_status_error(provider, error) from error
    except (sdk.APIError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise ModelRefused(f"{provider}'s answer makes no sense", target=provider) from error


def translate_status_error(provider: str, error: Any) -> Unavailable | ModelRefused:
    """A provider's 4xx or 5xx as ours."""
    if error.status_code < 500 and error.status_code not in (408, 409, 429):
        return ModelRefused(f"{provider} refused: {error.message[:500]}", target=provider)
    seconds = parse_retry_after(error.response.headers) or 1
    return Unavailable(f"{provider} is busy or failing", retry_after=seconds, target=provider)
