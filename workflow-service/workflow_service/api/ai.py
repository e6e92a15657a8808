"""AI: a model works on a text, or on a document that the caller may read, at a stated cost."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from chassis.auth import User
from chassis.openapi import raises
from chassis.routing import APIRouter

from ..ai import prompts
from ..ai.prompts import Prompt
from ..ai.providers import InvalidAnswer, ModelRefused
from ..ai.usage import ModelCall, UsageLog
from ..database import session_maker
from ..models import AiCall
from ..neighbours import Neighbours
from ..schemas import ModelUsage, TextAnalysis, TextSuggestion, TextSummary
from ..steps.ai import NoTextYet, TextSource, UnknownDocument
from .dependencies import ModelUser, NeighboursInTurn

router = APIRouter(prefix="/ai", tags=["AI"])

MODEL_ERRORS = (UnknownDocument, NoTextYet, ModelRefused, InvalidAnswer)


@router.post("/summarize", response_model=TextSummary)
@raises(*MODEL_ERRORS)
def summarize_text(
    source: TextSource, user: ModelUser, neighbours: NeighboursInTurn
) -> dict[str, Any]:
    """Summarise a text, or a document that you may read, in a few sentences."""
    return complete_for_user(source, user, neighbours, prompts.build_summary_prompt)


@router.post("/suggest", response_model=TextSuggestion)
@raises(*MODEL_ERRORS)
def suggest_title_and_tags(
    source: TextSource, user: ModelUser, neighbours: NeighboursInTurn
) -> dict[str, Any]:
    """Suggest a title and tags for a text, or for a document that you may read."""
    return complete_for_user(source, user, neighbours, prompts.build_suggestion_prompt)


@router.post("/analyze", response_model=TextAnalysis)
@raises(*MODEL_ERRORS)
def analyze_text(
    source: TextSource, user: ModelUser, neighbours: NeighboursInTurn
) -> dict[str, Any]:
    """List the topics, key points, figures and questions of a text or a readable document."""
    return complete_for_user(source, user, neighbours, prompts.build_analysis_prompt)


def complete_for_user(
    source: TextSource, user: User, neighbours: Neighbours, build_prompt: Callable[[str], Prompt]
) -> dict[str, Any]:
    """Return the model's answer with its cost; store every call, also when there is no answer."""
    text = source.read_text(neighbours, user.user_id)
    usage = UsageLog()
    try:
        answer = neighbours.models.complete(build_prompt(text), usage)
    finally:
        with session_maker.begin() as session:
            session.add_all(AiCall(user_id=user.user_id, **asdict(call)) for call in usage.calls)
    about = {"provider": answer.provider, "model": answer.model, "usage": sum_usage(usage.calls)}
    return {**answer.value, **about}


def sum_usage(calls: list[ModelCall]) -> ModelUsage:
    return ModelUsage(
        input_tokens=sum(call.input_tokens for call in calls),
        output_tokens=sum(call.output_tokens for call in calls),
        cost_usd=sum(call.cost_usd for call in calls),
    )
