"""Works off the queue: claims a step, has its kind do it, and settles what came of it.

Claiming and settling are short transactions. What happens between them may take its time, and may
happen twice when a worker dies; its effect happens once, because every call carries the step's key.
"""

import logging
from datetime import timedelta

from pydantic import ValidationError
from sqlalchemy.orm import Session, sessionmaker

from chassis import claims
from chassis.errors import Conflict, ServiceError, TooManyRequests
from chassis.schemas import storable_object
from chassis.service_client import asked
from chassis.tracing import traced

from ..kinds import KINDS
from ..models import Run, Step
from ..neighbours import Neighbours
from . import runs
from .outcomes import Again, Answer, Ask, Call, Done, Outcome, Terminal

logger = logging.getLogger(__name__)

POLICY = claims.RetryPolicy(
    max_attempts=12, first_delay=0.5, longest_delay=300
)  # 20 minutes in all
MOST_AT_ONCE = 100  # steps for one message, so that a worker can be stopped in good order


def work(sessions: sessionmaker[Session], neighbours: Neighbours, lease: timedelta) -> bool:
    """Does due steps, one after the other. True when there may be more."""
    for _ in range(MOST_AT_ONCE):
        with sessions.begin() as session:
            call = next_call(session, neighbours, lease)
        if call is None:
            return False
        with traced(call.run.trace_id):
            outcome = attempt(call)
            with sessions.begin() as session:
                settle(session, call, outcome)
    return True


def next_call(session: Session, neighbours: Neighbours, lease: timedelta) -> Call | None:
    for step in claims.claim(session, Step, limit=1, lease=lease):
        run = session.get_one(Run, step.run_id)
        runs.record(session, run, "step.started", step)
        return Call(run, step, neighbours)
    return None


def attempt(call: Call) -> Outcome:
    """The kind's answer, or why there is none."""
    try:
        return perform(call)
    except ServiceError as error:
        return error
    except Exception as error:
        logger.exception("step %s failed unexpectedly", call.step.name)
        return ServiceError(f"failed unexpectedly ({type(error).__name__}); the log says more")


def perform(call: Call) -> Answer:
    if call.step.attempts > POLICY.max_attempts:
        raise Terminal("every worker that tried it died or froze")
    try:
        step = KINDS[call.step.kind].model_validate(call.step.input)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(["with", *map(str, first["loc"])])
        raise Terminal(f"{place}: {first['msg']}") from error
    answer = step.perform(call)
    if isinstance(answer, Done):
        storable_object(answer.output)
    return answer


def settle(session: Session, call: Call, outcome: Outcome) -> None:
    """Writes down what the attempt came to and what follows, unless somebody else has the step."""
    run = runs.hold(session, call.run.id)
    if not claims.finish(session, call.step):  # the fence is old
        return runs.record(session, run, "step.late", call.step, answer=repr(outcome)[:1000])
    logger.info(
        "step %s, attempt %d: %s", call.step.name, call.step.attempts, type(outcome).__name__
    )
    apply(session, run, session.get_one(Step, call.step.id), outcome)


def apply(session: Session, run: Run, step: Step, outcome: Outcome) -> None:
    match outcome:
        case Done(output):
            runs.finish_step(session, run, step, output)
        case Ask():
            runs.open_task(session, run, step, outcome)
        case Again(seconds):
            put_back(session, run, step, "step.again", seconds)
            step.polls, step.attempts = step.polls + 1, 0  # it has not failed
        case ServiceError() if not may_pass(outcome, step):
            runs.stop(session, run, step, reason_of(outcome))
        case ServiceError() if step.attempts >= POLICY.max_attempts:
            reason = f"{reason_of(outcome)}; given up after {step.attempts} attempts"
            runs.stop(session, run, step, reason)
        case ServiceError():
            step.last_error = reason_of(outcome)
            pause = max(asked(outcome), POLICY.delay(step.attempts))
            put_back(session, run, step, "step.retrying", pause)


def may_pass(error: ServiceError, step: Step) -> bool:
    """Whether another attempt may do what this one could not."""
    # A conflict may be our own earlier attempt, still at work over there: see how it ends.
    in_our_way = isinstance(error, Conflict) and step.attempts <= 3
    return error.status_code >= 500 or isinstance(error, TooManyRequests) or in_our_way


def reason_of(error: ServiceError) -> str:
    """In words that can be stored, with the neighbour they are from."""
    reason = f"{error.target}: {error.message}" if error.target else error.message
    return reason.encode(errors="replace").decode().replace("\x00", "")[:2000]


def put_back(session: Session, run: Run, step: Step, why: str, seconds: float) -> None:
    step.status, step.run_at = claims.PENDING, runs.now() + timedelta(seconds=seconds)
    runs.record(session, run, why, step, run_at=step.run_at.isoformat(), error=step.last_error)
