"""The model providers: OpenAI, Anthropic or a compatible server, and one that works offline."""

from collections.abc import Iterator
from contextlib import contextmanager
from json import dumps
from typing import Any, ClassVar, NamedTuple, Protocol

from chassis.errors import BadGateway, Unavailable
from chassis.service_client import parse_retry_after
from chassis.tracing import get_seconds_left

from ..settings import Settings
from .prompts import Prompt

MAX_ANSWER_TOKENS = 4_000  # including what a model spends on reasoning

ChatMessage = dict[str, str]  # {"role": "user" or "assistant", "content": ...}


class ModelRefused(BadGateway):
    """Raised when another attempt would not help: a wrong key, no credit, a content filter."""

    outcome = "refused"  # of the call, in its UsageLog


class InvalidAnswer(ModelRefused):
    """Raised when an answer does not match its schema; `fault` says how, `text` is the answer."""

    outcome = "invalid"

    def __init__(self, provider: str, fault: str, text: str) -> None:
        super().__init__(f"{provider}'s answer is not valid: {fault}", target=provider)
        self.fault = fault
        self.text = text


class Reply(NamedTuple):
    text: str  # not yet checked
    input_tokens: int
    output_tokens: int


class Prices(NamedTuple):
    input: float  # US dollars for a million tokens
    output: float

    def compute_cost(self, reply: Reply) -> float:
        return (reply.input_tokens * self.input + reply.output_tokens * self.output) / 1_000_000


class Provider(Protocol):
    name: ClassVar[str]
    max_repairs: ClassVar[int] = 2  # how often it may correct an invalid answer
    model: str
    prices: Prices

    def __init__(self, settings: Settings) -> None: ...

    def generate_reply(self, prompt: Prompt, conversation: list[ChatMessage]) -> Reply:
        """Send the conversation. Raises Unavailable if a retry may help, or ModelRefused."""


class OpenAI(Provider):
    name = "openai"

    def __init__(self, settings: Settings) -> None:
        import openai  # imported here because an SDK takes a second or two to load

        self._sdk = openai
        key = settings.openai_api_key.get_secret_value()
        # The engine retries and records each attempt.
        self._client = openai.OpenAI(api_key=key, base_url=settings.openai_base_url, max_retries=0)
        self.model = settings.openai_model
        self.prices = Prices(settings.openai_input_price, settings.openai_output_price)
        self._timeout_seconds = settings.ai_timeout_seconds

    def generate_reply(self, prompt: Prompt, conversation: list[ChatMessage]) -> Reply:
        shape: Any = {"name": "answer", "schema": prompt.schema}
        messages: Any = [{"role": "system", "content": prompt.system_message}, *conversation]
        with translate_sdk_errors(self.name, self._sdk):
            answer = self._client.chat.completions.create(
                model=self.model,
                max_completion_tokens=MAX_ANSWER_TOKENS,
                messages=messages,
                response_format={"type": "json_schema", "json_schema": shape},
                timeout=limit_timeout(self.name, self._timeout_seconds),
            )
            text = (answer.choices[0].message.content or "").strip()
            if answer.usage is None:  # some compatible servers do not count tokens
                return Reply(text, 0, 0)
            return Reply(text, answer.usage.prompt_tokens, answer.usage.completion_tokens)


class Anthropic(Provider):
    name = "anthropic"

    def __init__(self, settings: Settings) -> None:
        import anthropic

        self._sdk = anthropic
        key = settings.anthropic_api_key.get_secret_value()
        url = settings.anthropic_base_url
        self._client = anthropic.Anthropic(api_key=key, base_url=url, max_retries=0)
        self.model = settings.anthropic_model
        self.prices = Prices(settings.anthropic_input_price, settings.anthropic_output_price)
        self._timeout_seconds = settings.ai_timeout_seconds

    def generate_reply(self, prompt: Prompt, conversation: list[ChatMessage]) -> Reply:
        messages: Any = conversation
        with translate_sdk_errors(self.name, self._sdk):
            # This API rejects lengths and bounds in schemas; parse_answer checks them instead.
            schema = self._sdk.transform_schema(prompt.schema)
            answer = self._client.messages.create(
                model=self.model,
                max_tokens=MAX_ANSWER_TOKENS,
                system=prompt.system_message,
                messages=messages,
                output_config={"format": {"type": "json_schema", "schema": schema}},
                timeout=limit_timeout(self.name, self._timeout_seconds),
            )
            text = "".join(block.text for block in answer.content if block.type == "text")
            return Reply(text.strip(), answer.usage.input_tokens, answer.usage.output_tokens)


class Offline(Provider):
    """Answers with algorithms that work on the text itself: always available and free."""

    name = "offline"
    max_repairs = 0  # a second answer would be the same

    def __init__(self, settings: Settings) -> None:
        self.model = "extractive"
        self.prices = Prices(0.0, 0.0)

    def generate_reply(self, prompt: Prompt, conversation: list[ChatMessage]) -> Reply:
        return Reply(dumps(prompt.answer_offline(prompt.text)), 0, 0)


PROVIDER_CLASSES: dict[str, type[Provider]] = {p.name: p for p in (OpenAI, Anthropic, Offline)}


def limit_timeout(provider: str, seconds: float) -> float:
    """Return the time that a call may take, within the deadline of its step or request."""
    seconds_left = get_seconds_left()
    if seconds_left <= 0:
        raise Unavailable(f"No time was left to call {provider}", target=provider)
    return min(seconds, seconds_left)


@contextmanager
def translate_sdk_errors(provider: str, sdk: Any) -> Iterator[None]:
    """Raise an SDK's errors as ours. Both SDKs use the same names for them."""
    try:
        yield
    except sdk.APIConnectionError as error:
        raise Unavailable(f"{provider} does not answer", target=provider) from error
    except sdk.APIStatusError as error:
        if error.status_code < 500 and error.status_code not in (408, 409, 429):
            message = f"{provider} refused: {error.message[:500]}"
            raise ModelRefused(message, target=provider) from error
        seconds = parse_retry_after(error.response.headers) or 1
        message = f"{provider} is busy or failing"
        raise Unavailable(message, retry_after=seconds, target=provider) from error
    except (sdk.APIError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise ModelRefused(f"{provider}'s answer cannot be read", target=provider) from error
