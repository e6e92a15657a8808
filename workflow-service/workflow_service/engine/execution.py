"""Attempts at steps: claimed in one transaction, made in none, settled in another."""

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from math import inf
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from chassis import job_queue
from chassis.errors import Conflict, ServiceError, TooManyRequests, Unavailable, is_transient
from chassis.schemas import check_json_object
from chassis.service_client import get_requested_delay

from ..ai.usage import ModelCall
from ..definition.model import Retry, StepDefinition
from ..models import AiCall, Event, Run, Step, Task
from ..neighbours import PLATFORM_SERVICES, Neighbours
from ..steps import KINDS
from ..steps.protocol import Answer, Call, Control, Done, Kind, Outcome, Terminal
from . import budget, human_tasks, transitions
from .human_tasks import TASK_CLOSED, TASK_OPEN
from .statuses import CANCELLED, FAILED, HELD, OPEN, PAUSED, PENDING, RUNNING, now
from .transaction import Move, hold, write
from .transitions import given

logger = logging.getLogger(__name__)

GIVEN_UP = "cannot be moved; the log says why"
OUTAGE = timedelta(days=1)
MOMENT = 0.005  # seconds in which another worker is done with moving a run

Answered = tuple[Call, Outcome]


class Unmovable(Exception):
    """A run with which the engine cannot do anything: a definition it cannot read, or a fault."""

    def __init__(self, run_id: UUID) -> None:
        super().__init__(str(run_id))
        self.run_id = run_id


@contextmanager
def blaming(runs: Collection[UUID]) -> Iterator[None]:
    """Whose fault a failure is can be said when there is one run only."""
    try:
        yield
    except Exception as error:
        if len(runs) != 1 or is_away(error):
            raise
        raise Unmovable(*runs) from error


def is_away(error: Exception) -> bool:
    """The database is, or it cannot do it just now."""
    return isinstance(error, DBAPIError) and is_transient(error)


def give_up(session: Session, run_id: UUID) -> None:
    """Without its definition, which may be what is wrong."""
    (run,) = hold(session, [run_id])
    lines: list[dict[str, Any]] = []
    for step in session.scalars(select(Step).where(Step.run_id == run_id, Step.status.in_(OPEN))):
        step.status, step.fence, step.finished_at = CANCELLED, step.fence + 1, now()
        lines.append({"type": "step.cancelled", "step_id": step.id, "step": step.path, "data": {}})
    for task in session.scalars(select(Task).filter_by(workflow_id=run_id, status=TASK_OPEN)):
        task.status, task.decided_at, task.reason = TASK_CLOSED, now(), GIVEN_UP
        about = {"task_id": str(task.id), "reason": GIVEN_UP}
        lines.append({"type": "task.closed", "step_id": task.step_id, "data": about})
    run.status, run.finished_at, run.error = FAILED, now(), GIVEN_UP
    lines.append({"type": "run.failed", "data": {"error": run.error}})
    session.add_all(Event(run_id=run_id, **line) for line in lines)


def until_due(session: Session) -> float:
    """Seconds until a step is; a moment when one is already, which another worker holds."""
    left = func.extract("epoch", func.min(Step.run_at) - func.now())
    seconds = session.scalar(select(left).where(Step.status == PENDING))
    return inf if seconds is None else max(MOMENT, float(seconds))


def claim(session: Session, neighbours: Neighbours, limit: int, lease: timedelta) -> list[Call]:
    """Takes due steps of runs that nobody else is moving."""
    due = (
        select(Run)
        .join(Step, Step.run_id == Run.id)
        .where(job_queue.is_due(Step))
        .order_by(Step.run_at)
        .limit(limit)
        .with_for_update(key_share=True, skip_locked=True, of=Run)
        .execution_options(populate_existing=True)
    )
    runs = {run.id: run for run in session.scalars(due).unique()}
    if not runs:
        return []
    with blaming(runs):
        moves = {run_id: Move(session, run) for run_id, run in runs.items()}
        of_these = Step.run_id.in_(moves)
        steps = job_queue.claim_jobs(session, Step, limit=limit, lease=lease, only=of_these)
        calls = [begin(moves[step.run_id], step, neighbours) for step in steps]
        write(session, moves.values())
    return [call for call in calls if call]


def begin(move: Move, step: Step, neighbours: Neighbours) -> Call | None:
    """The call to make, if it is one that needs a worker and may be made now."""
    move.knows(step)
    kind, defined = KINDS[step.kind], move.defined(step)
    if move.run.status == PAUSED and "~" not in step.name:
        step.status, step.attempts = HELD, step.attempts - 1
        move.record("step.held", step)
    elif issubclass(kind, Control):
        transitions.decide(move, step)
    elif step.attempts > defined.retry.attempts:
        transitions.fail(move, step, "every worker that tried it died or froze")
    elif kind.uses_models and (question := budget.question(move)):
        human_tasks.open_tasks(move, step, question)
    else:
        move.record("step.started", step)
        return Call(move.run, step, defined, neighbours)
    return None


def attempt(call: Call) -> Outcome:
    """The kind's answer, or why there is none."""
    try:
        return performed(call)
    except ServiceError as error:
        return error
    except Exception as error:
        logger.exception("step %s failed unexpectedly", call.step.path)
        return ServiceError(f"failed unexpectedly ({type(error).__name__}); the log says more")


def performed(call: Call) -> Answer:
    kind = given(call.step)
    assert isinstance(kind, Kind)
    if kind.needs:
        call.require(kind.needs)
    answer = kind.perform(call)
    if isinstance(answer, Done):
        refuse_unstorable(answer.output)
    return answer


def refuse_unstorable(output: dict[str, Any]) -> None:
    try:
        check_json_object(output)
    except ValueError as error:
        raise Terminal(f"what it gave cannot be kept: it {error}") from error


def settle(session: Session, answered: Sequence[Answered]) -> None:
    """Writes down what attempts came to and what follows, but for steps that others have now."""
    if not answered:
        return
    runs = {run.id: run for run in hold(session, {call.run.id for call, _ in answered})}
    ids = [call.step.id for call, _ in answered]
    found = select(Step).where(Step.id.in_(ids)).execution_options(populate_existing=True)
    steps = {step.id: step for step in session.scalars(found)}
    with blaming(runs):
        moves = {run_id: Move(session, run) for run_id, run in runs.items()}
        for call, outcome in answered:
            session.add_all(ai_call(call, model_call) for model_call in call.usage.calls)
            settle_one(moves[call.run.id], steps[call.step.id], call, outcome)
        write(session, moves.values())


def settle_one(move: Move, step: Step, call: Call, outcome: Outcome) -> None:
    """Somebody else's by now: what this one says is evidence, and has no effect."""
    move.knows(step)
    if step.status == RUNNING and step.fence == call.step.fence:
        return apply(move, step, call.defined, outcome)
    evidence = asdict(outcome) if isinstance(outcome, Done) else repr(outcome)
    return move.record("step.late", call.step, None, late_result=evidence)


def apply(move: Move, step: Step, defined: StepDefinition, outcome: Outcome) -> None:
    if not isinstance(outcome, ServiceError):
        return transitions.apply(move, step, outcome)
    reason, retry = reason_of(outcome), defined.retry
    if not may_pass(outcome, step):
        return transitions.fail(move, step, reason)
    at = now() + timedelta(
        seconds=max(get_requested_delay(outcome), pause_after(step.attempts, retry))
    )
    is_too_old = retry.max_age and at > step.created_at + timedelta(seconds=retry.max_age)
    if outlasts(step, defined, outcome, at):
        step.attempts = min(step.attempts, retry.attempts - 1)  # the next is not one too many
    elif step.attempts >= retry.attempts or is_too_old:
        return transitions.fail(move, step, f"{reason}; given up after {step.attempts} attempts")
    step.last_error = reason
    return move.put_back(step, "step.retrying", at, PENDING)


def outlasts(step: Step, defined: StepDefinition, error: ServiceError, at: datetime) -> bool:
    """A service of ours that is away is waited for, where no definition says how long.

    For a day: so long it knows the step's key. What only looks, again and again, looks on.
    """
    is_away = isinstance(error, Unavailable) and error.target in PLATFORM_SERVICES
    is_own_policy = "retry" in defined.model_fields_set
    is_look = bool(step.memory)
    return is_away and not is_own_policy and (is_look or at < step.created_at + OUTAGE)


def pause_after(attempts: int, retry: Retry) -> float:
    if retry.growth == "fixed":
        return retry.pause
    policy = job_queue.RetryPolicy(first_delay=retry.pause, max_delay=retry.longest_pause)
    return policy.get_delay(attempts)


def may_pass(error: ServiceError, step: Step) -> bool:
    """Whether another attempt may do what this one could not."""
    # A conflict may be our own earlier attempt, still at work over there: see how it ends.
    in_our_way = isinstance(error, Conflict) and step.attempts <= 3
    return error.status_code >= 500 or isinstance(error, TooManyRequests) or in_our_way


def reason_of(error: ServiceError) -> str:
    """In words that can be stored, with the neighbour they are from."""
    reason = f"{error.target}: {error.message}" if error.target else error.message
    return reason.encode(errors="replace").decode().replace("\x00", "")[:2000]


def ai_call(call: Call, model_call: ModelCall) -> AiCall:
    about = {"run_id": call.run.id, "step_id": call.step.id, "user_id": call.run.started_by}
    return AiCall(**about, **asdict(model_call))
