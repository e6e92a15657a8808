"""A locked run, and what happens to it in one transaction."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Table, insert, select
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from ..definition.model import Definition, StepDefinition
from ..definition.paths import StepPath
from ..models import NOTICE, WORK, DefinitionVersion, Event, Run, Step
from .context import ExpressionContext
from .statuses import HELD, PAUSED, PENDING, RUNNING, WAITING

MAX_CACHED_DEFINITIONS = 500  # definitions kept ready

# Written past the ORM, which need not know lines that nobody reads.
HISTORY_TABLE = cast(Table, Event.__table__)

_definitions: dict[UUID, Definition] = {}


def get_definition(run: Run) -> Definition:
    """A version never changes, so it is parsed once."""
    return _definitions.get(run.definition_id) or parse_definition(run.published)


def parse_definition(published: DefinitionVersion) -> Definition:
    if len(_definitions) >= MAX_CACHED_DEFINITIONS:
        _definitions.clear()
    return _definitions.setdefault(published.id, Definition.model_validate(published.content))


def lock_runs(session: Session, ids: Iterable[UUID]) -> Sequence[Run]:
    """The runs, locked: one transaction waits for the other."""
    # NO KEY UPDATE: a plain FOR UPDATE would also keep out whoever refers to the run.
    locked = select(Run).where(Run.id.in_(ids)).order_by(Run.id).with_for_update(key_share=True)
    return session.scalars(locked.execution_options(populate_existing=True)).all()


@contextmanager
def lock_run(session: Session, run_id: UUID) -> Iterator["RunTransaction"]:
    """The run, held; what was done to it is written at the end."""
    with session.no_autoflush:
        (run,) = lock_runs(session, [run_id])
        tx = RunTransaction(session, run)
        yield tx
        save_transactions(session, [tx])


def save_transactions(session: Session, transactions: Iterable["RunTransaction"]) -> None:
    """What happened goes into the database: many runs in few statements."""
    transactions = [other for tx in transactions for other in tx.close()]
    session.flush()
    if lines := [line for tx in transactions for line in tx.history]:
        session.execute(insert(HISTORY_TABLE), lines)


class RunTransaction:
    """A run that is held, and what happens to it in one transaction."""

    def __init__(self, session: Session, run: Run) -> None:
        self.session, self.run = session, run
        self.definition = get_definition(run)
        self.context = ExpressionContext(session, run)
        self.history: list[dict[str, Any]] = []  # of history
        self.events: deque[Callable[[], None]] = deque()  # in place of recursion without end
        self.controls_evaluated = 0  # of controls so far
        self._steps: dict[tuple[StepPath, str], Step] = {}  # by path and role
        self._joined: list[RunTransaction] = []

    def record(
        self, type: str, step: Step | None = None, by: str | None = None, **data: Any
    ) -> None:
        """A line of history, written with what happened: both are there or neither is.

        The lines of a run say everything that its state is made of.
        """
        about: dict[str, Any] = {"step_id": None, "step": None, "attempt": None}
        if step:
            about = {"step_id": step.id, "step": step.path, "attempt": step.attempts}
            if step.role != WORK:
                data["role"] = step.role
        self.history.append(
            {"run_id": self.run.id, "type": type, "actor_id": by, "data": data, **about}
        )

    def set_status(self, status: str, by: str | None = None, **data: Any) -> None:
        if self.run.status != status:
            self.run.status = status
            self.record(f"run.{status}", None, by, **data)

    def add_step(
        self, name: str, kind: str, scope: str = "", item: Any = None, **more: Any
    ) -> Step:
        """A new step of the run."""
        self.run.size += 1
        key = uuid7()
        step = Step(
            id=key, key=key, run_id=self.run.id, name=name, kind=kind, scope=scope, item=item,
            status=HELD if self.run.status == PAUSED else PENDING,
            **{"role": WORK, "memory": {}, **more},
        )  # fmt: skip
        self.session.add(step)
        self.track(step)
        return step

    def reschedule_step(self, step: Step, why: str, at: datetime, status: str) -> None:
        """The step is due then, or waits until then."""
        is_held = status == PENDING and self.run.status == PAUSED
        step.status, step.run_at, step.lease_until = HELD if is_held else status, at, None
        about = {"run_at": at.isoformat(), "error": step.last_error}
        self.record(why, step, status=step.status, **about)

    def track(self, step: Step) -> None:
        self._steps[step.position, step.role] = step

    def get_step(self, path: StepPath) -> Step:
        """Return the step of the definition at this place of the run."""
        if (path, WORK) not in self._steps:
            place = {"scope": path.scope, "name": path.name, "role": WORK}
            found = select(Step).filter_by(run_id=self.run.id, **place)
            self.track(self.session.scalars(found).one())
        return self._steps[path, WORK]

    def get_step_definition(self, step: Step) -> StepDefinition:
        """What the definition says of the step; of the engine's own there is only the kind."""
        if step.role == WORK:
            return self.definition.steps[step.name]
        return StepDefinition(kind=step.kind)

    def join(self, run: Run) -> "RunTransaction":
        """Another run, moved in the same transaction."""
        self._joined.append(RunTransaction(self.session, run))
        return self._joined[-1]

    def lock_child(self, run_id: UUID) -> "RunTransaction":
        (run,) = lock_runs(self.session, [run_id])
        return self.join(run)

    def close(self) -> list["RunTransaction"]:
        """Does what is left to do; gives all runs that were moved with this one, and itself."""
        while self.events:
            self.events.popleft()()
        if self.run.status in (RUNNING, WAITING):
            self.set_status(RUNNING if self._is_busy() else WAITING)
        return [self, *(moved for other in self._joined for moved in other.close())]

    def _is_busy(self) -> bool:
        active = (step for step in self._steps.values() if step.role != NOTICE)
        if any(step.status in (PENDING, RUNNING) for step in active):
            return True
        self.session.flush()
        busy = select(Step.id).where(
            Step.run_id == self.run.id, Step.status.in_((PENDING, RUNNING)), Step.role != NOTICE
        )
        return self.session.scalar(busy.limit(1)) is not None
