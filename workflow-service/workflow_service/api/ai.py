"""POST /ai/...: a model's help with one document or text, for a person who asks."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from chassis.auth import User, require_permission

from ..ai import prompts
from ..ai.prompts import Prompt
from ..ai.usage import ModelCall
from ..database import session_maker
from ..models import AiCall
from ..neighbours import Neighbours
from ..steps.ai import Material

MAX_CONCURRENT_MODEL_REQUESTS = (
    8  # a model takes its time: those who ask must not fill all the service's threads
)

router = APIRouter()

ModelUser = Annotated[User, require_permission("ai:use")]


def get_neighbours_in_turn(request: Request) -> Iterator[Neighbours]:
    yield request.app.state.neighbours


InTurn = Annotated[
    Neighbours,
    Depends(
        get_neighbours_in_turn, scope="function", max_concurrency=MAX_CONCURRENT_MODEL_REQUESTS
    ),
]


class Usage(BaseModel):
    """Of all calls of models that the answer took."""

    input_tokens: int
    output_tokens: int
    cost_usd: float


class ModelResponse(BaseModel):
    provider: str = Field(description="openai, anthropic, or offline: no model, but an algorithm.")
    model: str
    usage: Usage


class Summary(ModelResponse):
    summary: str


class Suggestion(ModelResponse):
    title: str
    tags: list[str]


class Analysis(ModelResponse):
    topics: list[str]
    key_points: list[str]
    figures: list[str] = Field(description="Statements with a number in them.")
    questions: list[str]


@router.post("/summarize", response_model=Summary)
def summarize(new: Material, user: ModelUser, neighbours: InTurn) -> dict[str, Any]:
    """A few sentences on a text, or on a document that you may read."""
    return answer_request(new, user, neighbours, prompts.build_summary_prompt)


@router.post("/suggest", response_model=Suggestion)
def suggest(new: Material, user: ModelUser, neighbours: InTurn) -> dict[str, Any]:
    """A title and tags for a text, or for a document that you may read."""
    return answer_request(new, user, neighbours, prompts.build_suggestion_prompt)


@router.post("/analyze", response_model=Analysis)
def analyze(new: Material, user: ModelUser, neighbours: InTurn) -> dict[str, Any]:
    """Topics, key points, figures and questions of a text, or of a document that you may read."""
    return answer_request(new, user, neighbours, prompts.build_analysis_prompt)


def answer_request(
    new: Material, user: User, neighbours: Neighbours, build_prompt: Callable[[str], Prompt]
) -> dict[str, Any]:
    text = new.read(neighbours, user.user_id)
    spent: list[ModelCall] = []
    try:
        answer = neighbours.models.complete(build_prompt(text), spent)
    finally:  # what was asked is kept, also when nothing came of it
        with session_maker.begin() as session:
            session.add_all(AiCall(user_id=user.user_id, **asdict(each)) for each in spent)
    usage = {
        "input_tokens": sum(call.input_tokens for call in spent),
        "output_tokens": sum(call.output_tokens for call in spent),
        "cost_usd": sum(call.cost_usd for call in spent),
    }
    return {**answer.value, "provider": answer.provider, "model": answer.model, "usage": usage}
