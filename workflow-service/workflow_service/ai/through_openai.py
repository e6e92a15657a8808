"""Summaries from OpenAI, or whatever speaks its API, through the official SDK."""

import openai

from ..settings import Settings
from . import INSTRUCTION, MOST_TOKENS, Summarizer, through


def summarizer(settings: Settings) -> Summarizer:
    client = openai.OpenAI(
        api_key=settings.openai_api_key.get_secret_value(),
        base_url=settings.openai_base_url,
        timeout=settings.ai_timeout_seconds,
        max_retries=0,  # the engine retries, and remembers that it did
    )
    model = settings.openai_model

    def ask(prompt: str) -> str | None:
        answer = client.chat.completions.create(
            model=model,
            max_completion_tokens=MOST_TOKENS,
            messages=[
                {"role": "system", "content": INSTRUCTION},
                {"role": "user", "content": prompt},
            ],
        )
        return answer.choices[0].message.content

    return through("openai", openai, model, ask)
