"""Attempts at steps: claimed in one transaction, made outside of any, finished in another one."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from math import inf

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from chassis import job_queue
from chassis.errors import ServiceError
from chassis.schemas import check_json_object

from ..ai.usage import ModelCall
from ..models import WORK, AiCall, Run, Step
from ..neighbours import Neighbours
from ..steps import protocol
from ..steps.protocol import ControlStep, Done, Outcome, StepAttempt, StepResult, StepType
from . import budget, transitions
from .events import ControlReady, ResultReceived, StepFailed
from .retries import retry_or_fail
from .statuses import HELD, PAUSED, PENDING, RUNNING
from .transaction import RunTransaction, lock_runs, save_transactions
from .unprocessable import attribute_failure

logger = logging.getLogger(__name__)

BUSY_DELAY_SECONDS = 0.005  # in which another worker has moved the run that it holds

FinishedAttempt = tuple[StepAttempt, Outcome]


def get_seconds_until_due(session: Session) -> float:
    """Return when a step is due next; soon, when one is due whose run another worker holds."""
    left = func.extract("epoch", func.min(Step.run_at) - func.now())
    seconds = session.scalar(select(left).where(Step.status == PENDING))
    return inf if seconds is None else max(BUSY_DELAY_SECONDS, float(seconds))


def claim_steps(
    session: Session, neighbours: Neighbours, limit: int, lease: timedelta
) -> list[StepAttempt]:
    """Claim due steps of runs that no other transaction holds, and do their control steps."""
    due = select(Run).join(Step, Step.run_id == Run.id).where(job_queue.is_due(Step))
    some = due.order_by(Step.run_at).limit(limit)
    locked = some.with_for_update(key_share=True, skip_locked=True, of=Run)
    found = session.scalars(locked.execution_options(populate_existing=True))
    runs = {run.id: run for run in found.unique()}
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
    """Return the attempt that a worker has to make, if the step needs one and may start."""
    tx.track(step)
    step_type = protocol.STEP_TYPES[step.kind]
    definition = tx.get_step_definition(step)
    if tx.run.status == PAUSED and step.role == WORK:
        step.status = HELD
        step.attempts -= 1
        tx.record("step.held", step)
    elif issubclass(step_type, ControlStep):
        transitions.process(tx, ControlReady(step))
    elif step.attempts > definition.retry_policy.attempts:
        transitions.process(tx, StepFailed(step, "every worker that tried it crashed or hung"))
    elif step_type.uses_models and (request := budget.check_budget(tx)):
        transitions.process(tx, ResultReceived(step, request))
    else:
        tx.record("step.started", step)
        return StepAttempt(tx.run, step, definition, neighbours)
    return None


def run_attempt(attempt: StepAttempt) -> Outcome:
    """Return the result of the step type, or the error that it ended with."""
    try:
        return perform_step(attempt)
    except ServiceError as error:
        return error
    except Exception as error:
        logger.exception("step %s failed unexpectedly", attempt.step.path)
        return ServiceError(f"failed unexpectedly ({type(error).__name__}); the log says more")


def perform_step(attempt: StepAttempt) -> StepResult:
    step_type = protocol.parse_input(attempt.step)
    assert isinstance(step_type, StepType)
    if step_type.required_permission:
        attempt.require_permission(step_type.required_permission)
    result = step_type.perform(attempt)
    try:
        check_json_object(result.output if isinstance(result, Done) else {})
    except ValueError as error:
        raise protocol.NonRetryableError(f"its output cannot be stored: it {error}") from error
    return result


def finish_attempts(session: Session, finished: Sequence[FinishedAttempt]) -> None:
    """Write the results of attempts and what follows from them, of many runs at once."""
    if not finished:
        return
    runs = {run.id: run for run in lock_runs(session, {attempt.run.id for attempt, _ in finished})}
    ids = [attempt.step.id for attempt, _ in finished]
    found = select(Step).where(Step.id.in_(ids)).execution_options(populate_existing=True)
    steps = {step.id: step for step in session.scalars(found)}
    with attribute_failure(runs):
        transactions = {run_id: RunTransaction(session, run) for run_id, run in runs.items()}
        for attempt, outcome in finished:
            session.add_all(build_ai_call(attempt, call) for call in attempt.usage.calls)
            finish_attempt(transactions[attempt.run.id], steps[attempt.step.id], attempt, outcome)
        save_transactions(session, transactions.values())


def finish_attempt(tx: RunTransaction, step: Step, attempt: StepAttempt, outcome: Outcome) -> None:
    """Apply the outcome, unless the step was claimed again or cancelled meanwhile."""
    tx.track(step)
    if step.status != RUNNING or step.fence != attempt.step.fence:
        evidence = asdict(outcome) if isinstance(outcome, Done) else repr(outcome)
        tx.record("step.result_discarded", attempt.step, None, result=evidence)
    elif isinstance(outcome, ServiceError):
        retry_or_fail(tx, step, outcome)
        transitions.process(tx)
    else:
        transitions.process(tx, ResultReceived(step, outcome))


def build_ai_call(attempt: StepAttempt, call: ModelCall) -> AiCall:
    run = attempt.run
    return AiCall(run_id=run.id, step_id=attempt.step.id, user_id=run.started_by, **asdict(call))
