"""Summaries from Anthropic, or whatever speaks its API, through the official SDK."""

import anthropic

from ..settings import Settings
from . import INSTRUCTION, MOST_TOKENS, Summarizer, through


def summarizer(settings: Settings) -> Summarizer:
    client = anthropic.Anthropic(
        api_key=settings.anthropic_api_key.get_secret_value(),
        base_url=settings.anthropic_base_url,
        timeout=settings.ai_timeout_seconds,
        max_retries=0,  # the engine retries, and remembers that it did
    )
    model = settings.anthropic_model

    def ask(prompt: str) -> str:
        answer = client.messages.create(
            model=model,
            max_tokens=MOST_TOKENS,
            system=INSTRUCTION,
            messages=[{"role": "user", "content": prompt}],
        )
        return "".join(block.text for block in answer.content if block.type == "text")

    return through("anthropic", anthropic, model, ask)
