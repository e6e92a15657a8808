"""A locked run, and what happens to it in one transaction. Open it for how rows are written.

Many runs can be moved in one transaction, in few statements: save_transactions() flushes them
together, and inserts their history at once.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Table, insert, select
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from .. import models
from ..definition.model import Definition, StepDefinition
from ..definition.paths import StepPath
from ..models import NOTICE, WORK, DefinitionVersion, Run, Step
from ..steps.protocol import ControlStep, StepContext, StepMemory, StepResult, parse_input
from .context import ExpressionContext
from .events import ControlReady, Event
from .statuses import HELD, NEVER, PAUSED, PENDING, RUNNING, WAITING

MAX_CACHED_DEFINITIONS = 500
MAX_CONTROLS_PER_TRANSACTION = 500  # control steps; further ones go through the queue

# Inserted without the ORM, which would keep objects that are never read.
HISTORY_TABLE = cast(Table, models.Event.__table__)

_definitions: dict[UUID, Definition] = {}  # by the id of their version, which never changes


def get_definition(run: Run) -> Definition:
    return _definitions.get(run.definition_id) or parse_definition(run.published)


def parse_definition(published: DefinitionVersion) -> Definition:
    if len(_definitions) >= MAX_CACHED_DEFINITIONS:
        _definitions.clear()
    return _definitions.setdefault(published.id, Definition.model_validate(published.content))


def lock_runs(session: Session, ids: Iterable[UUID]) -> Sequence[Run]:
    """Lock the runs and read them as they are now; one transaction at a time moves a run."""
    # NO KEY UPDATE: a plain FOR UPDATE would also block inserts that refer to the run.
    locked = select(Run).where(Run.id.in_(ids)).order_by(Run.id).with_for_update(key_share=True)
    return session.scalars(locked.execution_options(populate_existing=True)).all()


@contextmanager
def lock_run(session: Session, run_id: UUID) -> Iterator["RunTransaction"]:
    """Lock a run for the block, and save at its end what happened to it."""
    with session.no_autoflush:
        (run,) = lock_runs(session, [run_id])
        tx = RunTransaction(session, run)
        yield tx
        save_transactions(session, [tx])


def save_transactions(session: Session, transactions: Iterable["RunTransaction"]) -> None:
    """Write the steps, runs and history of these transactions and of all that joined them."""
    everything = [each for tx in transactions for each in tx.list_joined()]
    for tx in everything:
        tx.update_status()
    session.flush()
    if lines := [line for tx in everything for line in tx.history]:
        session.execute(insert(HISTORY_TABLE), lines)


class RunTransaction:
    """Holds a locked run, what happened to it, and the events that are still to be handled."""

    def __init__(self, session: Session, run: Run) -> None:
        self.session = session
        self.run = run
        self.definition = get_definition(run)
        self.context = ExpressionContext(session, run)
        self.history: list[dict[str, Any]] = []
        self.joined: list[RunTransaction] = []
        self.controls_evaluated = 0
        self._events: deque[Event] = deque()
        self._ready_controls: deque[ControlReady] = deque()
        self._steps: dict[tuple[StepPath, str], Step] = {}  # by path and role

    def put(self, event: Event) -> None:
        """Report what happened; transitions.py decides what follows."""
        if isinstance(event, ControlReady):
            self._ready_controls.append(event)
        else:
            self._events.append(event)

    def take(self) -> Event | None:
        """Remove the next event. Control steps come last: what is decided may cancel them."""
        if self._events:
            return self._events.popleft()
        return self._ready_controls.popleft() if self._ready_controls else None

    def record(
        self, type: str, step: Step | None = None, by: str | None = None, **data: Any
    ) -> None:
        """Add an event to the history, from which the state of the run can be rebuilt."""
        line: dict[str, Any] = {"run_id": self.run.id, "type": type, "actor_id": by, "data": data}
        line |= {"step_id": None, "step": None, "attempt": None}
        if step:
            line |= {"step_id": step.id, "step": step.path, "attempt": step.attempts}
            if step.role != WORK:
                data["role"] = step.role
        self.history.append(line)

    def set_status(self, status: str, by: str | None = None, **data: Any) -> None:
        if self.run.status != status:
            self.run.status = status
            self.record(f"run.{status}", None, by, **data)

    def add_step(self, name: str, kind: str, scope: str, item: Any = None, **columns: Any) -> Step:
        """Add a step to the run; in a paused run it is held."""
        self.run.size += 1
        key = uuid7()
        step = Step(
            id=key, key=key, run_id=self.run.id, name=name, kind=kind, scope=scope, item=item,
            status=HELD if self.run.status == PAUSED else PENDING,
            **{"role": WORK, "memory": {}, **columns},
        )  # fmt: skip
        self.session.add(step)
        self.track(step)
        return step

    def add_notice(self, about: Step | None, message: dict[str, Any]) -> None:
        """Notify people by a step of its own, which is retried like any other."""
        name = f"{about.name if about else 'run'}_notice_{self.run.size + 1}"
        scope = about.scope if about else ""
        step = self.add_step(name, "communication.notify", scope, role=NOTICE)
        step.input = message
        step.status = PENDING  # also in a run that is paused
        self.record("step.ready", step, status=PENDING, input=message)

    def suspend_step(
        self, step: Step, memory: StepMemory | None, until: datetime | None = None
    ) -> None:
        """Let the step wait until then, or until something else moves it."""
        step.status = WAITING
        step.run_at = until or NEVER
        step.lease_until = None
        step.memory = memory.model_dump(mode="json") if memory else {}

    def reschedule_step(self, step: Step, why: str, at: datetime, status: str) -> None:
        """Make the step due at that time, and record why."""
        is_held = status == PENDING and self.run.status == PAUSED
        step.status = HELD if is_held else status
        step.run_at = at
        step.lease_until = None
        about = {"run_at": at.isoformat(), "error": step.last_error}
        self.record(why, step, status=step.status, **about)

    def track(self, step: Step) -> None:
        """Keep the step at hand: get_step() finds it without a query."""
        self._steps[step.position, step.role] = step

    def get_step(self, path: StepPath) -> Step:
        """Return the step of the definition at this place of the run."""
        if (path, WORK) not in self._steps:
            found = select(Step).filter_by(run_id=self.run.id, role=WORK, **path._asdict())
            self.track(self.session.scalars(found).one())
        return self._steps[path, WORK]

    def get_step_definition(self, step: Step) -> StepDefinition:
        """Return what the definition says; for the engine's own steps, nothing but the kind."""
        if step.role == WORK:
            return self.definition.steps[step.name]
        return StepDefinition(kind=step.kind)

    def evaluate_control(self, step: Step) -> StepResult:
        """Ask a control step for its result. Raises NonRetryableError."""
        control = parse_input(step)
        assert isinstance(control, ControlStep)
        context = StepContext(self.run, step, self.get_step_definition(step))
        return control.decide(context, lambda: self.context.build_scope(step.scope, step.item))

    def join(self, run: Run) -> "RunTransaction":
        """Move another run in the same transaction."""
        self.joined.append(RunTransaction(self.session, run))
        return self.joined[-1]

    def lock_child(self, run_id: UUID) -> "RunTransaction":
        (run,) = lock_runs(self.session, [run_id])
        return self.join(run)

    def list_joined(self) -> list["RunTransaction"]:
        """Return this transaction and all that joined it, directly or not."""
        return [self, *(each for joined in self.joined for each in joined.list_joined())]

    def update_status(self) -> None:
        """Show a run that nothing works on as waiting."""
        if self.run.status in (RUNNING, WAITING):
            self.set_status(RUNNING if self._is_busy() else WAITING)

    def _is_busy(self) -> bool:
        active = (PENDING, RUNNING)
        tracked = (step for step in self._steps.values() if step.role != NOTICE)
        if any(step.status in active for step in tracked):
            return True
        self.session.flush()
        steps = select(Step.id).where(Step.run_id == self.run.id, Step.role != NOTICE)
        return self.session.scalar(steps.where(Step.status.in_(active)).limit(1)) is not None
