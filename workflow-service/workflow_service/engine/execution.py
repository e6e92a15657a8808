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
from ..models import WORK, AiCall, Event, Run, Step, Task
from ..neighbours import PLATFORM_SERVICES, Neighbours
from ..steps import STEP_TYPES
from ..steps.protocol import (
    ControlStep,
    Done,
    NonRetryableError,
    Outcome,
    StepAttempt,
    StepResult,
    StepType,
)
from . import budget, human_tasks, transitions
from .human_tasks import TASK_CLOSED, TASK_OPEN
from .statuses import CANCELLED, FAILED, HELD, OPEN, PAUSED, PENDING, RUNNING, now
from .transaction import RunTransaction, lock_runs, save_transactions
from .transitions import parse_input

logger = logging.getLogger(__name__)

UNPROCESSABLE_REASON = "cannot be moved; the log says why"
MAX_OUTAGE = timedelta(days=1)
BUSY_DELAY_SECONDS = 0.005  # seconds in which another worker is done with moving a run

FinishedAttempt = tuple[StepAttempt, Outcome]


class UnprocessableRun(Exception):
    """A run with which the engine cannot do anything: a definition it cannot read, or a fault."""

    def __init__(self, run_id: UUID) -> None:
        super().__init__(str(run_id))
        self.run_id = run_id


@contextmanager
def attribute_failure(runs: Collection[UUID]) -> Iterator[None]:
    """Whose fault a failure is can be said when there is one run only."""
    try:
        yield
    except Exception as error:
        if len(runs) != 1 or is_database_unavailable(error):
            raise
        raise UnprocessableRun(*runs) from error


def is_database_unavailable(error: Exception) -> bool:
    """The database is, or it cannot do it just now."""
    return isinstance(error, DBAPIError) and is_transient(error)


def fail_unprocessable_run(session: Session, run_id: UUID) -> None:
    """Without its definition, which may be what is wrong."""
    (run,) = lock_runs(session, [run_id])
    lines: list[dict[str, Any]] = []
    for step in session.scalars(select(Step).where(Step.run_id == run_id, Step.status.in_(OPEN))):
        step.status, step.fence, step.finished_at = CANCELLED, step.fence + 1, now()
        lines.append({"type": "step.cancelled", "step_id": step.id, "step": step.path, "data": {}})
    for task in session.scalars(select(Task).filter_by(workflow_id=run_id, status=TASK_OPEN)):
        task.status, task.decided_at, task.reason = TASK_CLOSED, now(), UNPROCESSABLE_REASON
        about = {"task_id": str(task.id), "reason": UNPROCESSABLE_REASON}
        lines.append({"type": "task.closed", "step_id": task.step_id, "data": about})
    run.status, run.finished_at, run.error = FAILED, now(), UNPROCESSABLE_REASON
    lines.append({"type": "run.failed", "data": {"error": run.error}})
    session.add_all(Event(run_id=run_id, **line) for line in lines)


def get_seconds_until_due(session: Session) -> float:
    """Seconds until a step is; a moment when one is already, which another worker holds."""
    left = func.extract("epoch", func.min(Step.run_at) - func.now())
    seconds = session.scalar(select(left).where(Step.status == PENDING))
    return inf if seconds is None else max(BUSY_DELAY_SECONDS, float(seconds))


def claim_steps(
    session: Session, neighbours: Neighbours, limit: int, lease: timedelta
) -> list[StepAttempt]:
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
    with attribute_failure(runs):
        transactions = {run_id: RunTransaction(session, run) for run_id, run in runs.items()}
        of_these = Step.run_id.in_(transactions)
        steps = job_queue.claim_jobs(session, Step, limit=limit, lease=lease, only=of_these)
        attempts = [begin_attempt(transactions[step.run_id], step, neighbours) for step in steps]
        save_transactions(session, transactions.values())
    return [attempt for attempt in attempts if attempt]


def begin_attempt(tx: RunTransaction, step: Step, neighbours: Neighbours) -> StepAttempt | None:
    """The attempt to make, if it is one that needs a worker and may be made now."""
    tx.track(step)
    kind, defined = STEP_TYPES[step.kind], tx.get_step_definition(step)
    if tx.run.status == PAUSED and step.role == WORK:
        step.status, step.attempts = HELD, step.attempts - 1
        tx.record("step.held", step)
    elif issubclass(kind, ControlStep):
        transitions.run_control(tx, step)
    elif step.attempts > defined.retry.attempts:
        transitions.fail_step(tx, step, "every worker that tried it died or froze")
    elif kind.uses_models and (question := budget.check_budget(tx)):
        human_tasks.open_tasks(tx, step, question)
    else:
        tx.record("step.started", step)
        return StepAttempt(tx.run, step, defined, neighbours)
    return None


def run_attempt(attempt: StepAttempt) -> Outcome:
    """The kind's answer, or why there is none."""
    try:
        return perform_step(attempt)
    except ServiceError as error:
        return error
    except Exception as error:
        logger.exception("step %s failed unexpectedly", attempt.step.path)
        return ServiceError(f"failed unexpectedly ({type(error).__name__}); the log says more")


def perform_step(attempt: StepAttempt) -> StepResult:
    kind = parse_input(attempt.step)
    assert isinstance(kind, StepType)
    if kind.required_permission:
        attempt.require_permission(kind.required_permission)
    answer = kind.perform(attempt)
    if isinstance(answer, Done):
        check_output(answer.output)
    return answer


def check_output(output: dict[str, Any]) -> None:
    try:
        check_json_object(output)
    except ValueError as error:
        raise NonRetryableError(f"what it gave cannot be kept: it {error}") from error


def finish_attempts(session: Session, answered: Sequence[FinishedAttempt]) -> None:
    """Writes down what attempts came to and what follows, but for steps that others have now."""
    if not answered:
        return
    runs = {run.id: run for run in lock_runs(session, {attempt.run.id for attempt, _ in answered})}
    ids = [attempt.step.id for attempt, _ in answered]
    found = select(Step).where(Step.id.in_(ids)).execution_options(populate_existing=True)
    steps = {step.id: step for step in session.scalars(found)}
    with attribute_failure(runs):
        transactions = {run_id: RunTransaction(session, run) for run_id, run in runs.items()}
        for attempt, outcome in answered:
            session.add_all(
                build_ai_call(attempt, model_call) for model_call in attempt.usage.calls
            )
            finish_attempt(transactions[attempt.run.id], steps[attempt.step.id], attempt, outcome)
        save_transactions(session, transactions.values())


def finish_attempt(tx: RunTransaction, step: Step, attempt: StepAttempt, outcome: Outcome) -> None:
    """Somebody else's by now: what this one says is evidence, and has no effect."""
    tx.track(step)
    if step.status == RUNNING and step.fence == attempt.step.fence:
        return apply_outcome(tx, step, attempt.defined, outcome)
    evidence = asdict(outcome) if isinstance(outcome, Done) else repr(outcome)
    return tx.record("step.result_discarded", attempt.step, None, result=evidence)


def apply_outcome(
    tx: RunTransaction, step: Step, defined: StepDefinition, outcome: Outcome
) -> None:
    if not isinstance(outcome, ServiceError):
        return transitions.apply_result(tx, step, outcome)
    reason, retry = describe_error(outcome), defined.retry
    if not is_retryable(outcome, step):
        return transitions.fail_step(tx, step, reason)
    at = now() + timedelta(
        seconds=max(get_requested_delay(outcome), get_retry_delay(step.attempts, retry))
    )
    is_too_old = retry.max_age and at > step.created_at + timedelta(seconds=retry.max_age)
    if should_outwait_outage(step, defined, outcome, at):
        step.attempts = min(step.attempts, retry.attempts - 1)  # the next is not one too many
    elif step.attempts >= retry.attempts or is_too_old:
        return transitions.fail_step(tx, step, f"{reason}; given up after {step.attempts} attempts")
    step.last_error = reason
    return tx.reschedule_step(step, "step.retrying", at, PENDING)


def should_outwait_outage(
    step: Step, defined: StepDefinition, error: ServiceError, at: datetime
) -> bool:
    """A service of ours that is away is waited for, where no definition says how long.

    For a day: so long it knows the step's key. What only looks, again and again, looks on.
    """
    is_away = isinstance(error, Unavailable) and error.target in PLATFORM_SERVICES
    is_own_policy = "retry" in defined.model_fields_set
    is_look = bool(step.memory)
    return is_away and not is_own_policy and (is_look or at < step.created_at + MAX_OUTAGE)


def get_retry_delay(attempts: int, retry: Retry) -> float:
    if retry.growth == "fixed":
        return retry.pause
    policy = job_queue.RetryPolicy(first_delay=retry.pause, max_delay=retry.longest_pause)
    return policy.get_delay(attempts)


def is_retryable(error: ServiceError, step: Step) -> bool:
    """Whether another attempt may do what this one could not."""
    # A conflict may be our own earlier attempt, still at work over there: see how it ends.
    in_our_way = isinstance(error, Conflict) and step.attempts <= 3
    return error.status_code >= 500 or isinstance(error, TooManyRequests) or in_our_way


def describe_error(error: ServiceError) -> str:
    """In words that can be stored, with the neighbour they are from."""
    reason = f"{error.target}: {error.message}" if error.target else error.message
    return reason.encode(errors="replace").decode().replace("\x00", "")[:2000]


def build_ai_call(attempt: StepAttempt, model_call: ModelCall) -> AiCall:
    about = {
        "run_id": attempt.run.id,
        "step_id": attempt.step.id,
        "user_id": attempt.run.started_by,
    }
    return AiCall(**about, **asdict(model_call))
