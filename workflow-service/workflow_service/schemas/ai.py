"""Responses of /ai, and what calls to models cost."""

from pydantic import Field

from chassis.schemas import ResponseModel


class Usage(ResponseModel):
    """Adds up the calls to models that an answer took."""

    input_tokens: int
    output_tokens: int
    cost_usd: float


class UsageTotal(Usage):
    """Adds up the calls to models of a run, or of many."""

    calls: int


class AiResponse(ResponseModel):
    """Says what every answer of a model says beside its content."""

    provider: str = Field(
        description="openai, anthropic, or offline for an answer that was made without a model."
    )
    model: str
    usage: Usage


class Summary(AiResponse):
    summary: str


class Suggestion(AiResponse):
    title: str
    tags: list[str]


class Analysis(AiResponse):
    topics: list[str]
    key_points: list[str]
    figures: list[str] = Field(description="Statements that contain a number.")
    questions: list[str]
