"""How a run moves. Everything here happens in a transaction that holds the run's row.

A step that has ended makes the next one of its lane ready; the main lane has the scope "", each
branch of a parallel step and each item of a foreach is a lane of its own. Steps whose names hold a
~ are the engine's: they undo another step, or tell somebody something.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import Table, insert, select
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from chassis.errors import ServiceError

from ..kinds import KINDS
from ..models import DefinitionVersion, Event, Run, Step
from . import asking, children, ending, lanes
from .definition import Definition, StepDefinition
from .expressions import ExpressionError, Scope, evaluate_all, scope
from .outcomes import (
    Again,
    Answer,
    Ask,
    Control,
    Done,
    Here,
    Kind,
    Launch,
    Spread,
    Terminal,
)  # fmt: skip
from .states import (
    COMPLETED,
    DEAD,
    DONE,
    FAILED,
    FOREVER,
    HELD,
    OPEN,
    PAUSED,
    PENDING,
    RUNNING,
    UNDO,
    WAITING,
    now,
    tells,
)  # fmt: skip

SOON = timedelta(seconds=10)  # a shorter pause is not shown as waiting
MOST_STEPS = 10_000  # of a run
MOST_DECISIONS = 500  # of controls in one transaction; further ones go through the queue
MOST_PARSED = 500  # definitions kept ready

HISTORY = cast(
    Table, Event.__table__
)  # written past the ORM, which need not know lines that nobody reads

_parsed: dict[UUID, Definition] = {}


def definition_of(run: Run) -> Definition:
    """A version never changes, so it is parsed once."""
    return _parsed.get(run.definition_id) or parsed(run.published)


def parsed(published: DefinitionVersion) -> Definition:
    if len(_parsed) >= MOST_PARSED:
        _parsed.clear()
    return _parsed.setdefault(published.id, Definition.model_validate(published.content))


def hold(session: Session, ids: Iterable[UUID]) -> Sequence[Run]:
    """The runs, locked: whoever wants to move one comes after the other."""
    # NO KEY UPDATE: a plain FOR UPDATE would also keep out whoever refers to the run.
    locked = select(Run).where(Run.id.in_(ids)).order_by(Run.id).with_for_update(key_share=True)
    return session.scalars(locked.execution_options(populate_existing=True)).all()


@contextmanager
def moving(session: Session, run_id: UUID) -> Iterator["Move"]:
    """The run, held; what was done to it is written at the end."""
    with session.no_autoflush:
        (run,) = hold(session, [run_id])
        move = Move(session, run)
        yield move
        write(session, [move])


def write(session: Session, moves: Iterable["Move"]) -> None:
    """What happened goes into the database: many runs in few statements."""
    moves = [other for move in moves for other in move.close()]
    session.flush()
    if lines := [line for move in moves for line in move.lines]:
        session.execute(insert(HISTORY), lines)


class Move:
    """A run that is held, and what happens to it in one transaction."""

    def __init__(self, session: Session, run: Run) -> None:
        self.session, self.run = session, run
        self.definition = definition_of(run)
        self.lines: list[dict[str, Any]] = []  # of history
        self.todo: deque[Callable[[], None]] = deque()  # in place of recursion without end
        self.others: list[Move] = []
        self.decisions = 0
        self.known: dict[tuple[str, str], Step] = {}  # by scope and name
        self.outputs: dict[str, dict[str, Any]] = {}  # in the database, by scope
        self.fresh: dict[str, dict[str, Any]] = {}  # not yet there

    # -- beginning, going on, ending --------------------------------------------------------------

    def begin(self) -> None:
        self.note_start(self.run.started_by)
        self.add(self.definition.start)

    def note_start(self, by: str) -> None:
        run, sla = self.run, self.definition.sla
        if sla:
            run.due_at = now() + timedelta(seconds=sla.seconds)
        about = {"definition": run.definition, "version": run.version, "input": run.input}
        about |= {"retry_of": str(run.retry_of)} if run.retry_of else {}
        self.record("run.started", None, by, **about)

    def add(self, name: str, scope: str = "", item: dict[str, Any] | None = None) -> None:
        """Puts a step into the queue. Its input is worked out once: every attempt gets the same."""
        if self.run.ends_as:
            return None
        if self.run.size >= MOST_STEPS:
            return ending.stop(self, FAILED, f"has more than {MOST_STEPS} steps")
        defined = self.definition.steps[name]
        step = self.put(name, defined.kind, scope, item)
        if defined.sla:
            step.due_at = now() + timedelta(seconds=defined.sla.seconds)
        self.prepare(step, defined.inputs, f"steps.{name}.with")

    def put(self, name: str, kind: str, scope: str = "", item: Any = None, **more: Any) -> Step:
        self.run.size += 1
        key = uuid7()
        step = Step(
            id=key, key=key, run_id=self.run.id, name=name, kind=kind, scope=scope, item=item,
            status=HELD if self.run.status == PAUSED else PENDING, memory={}, **more,
        )  # fmt: skip
        self.session.add(step)
        self.known[scope, name] = step
        return step

    def prepare(self, step: Step, inputs: dict[str, Any], place: str) -> None:
        """Works out the step's input. What asks nobody is decided at once."""
        try:
            step.input = self.evaluate(inputs, step.scope, step.item, place)
        except ExpressionError as error:
            return self.todo.append(partial(self.fail_step, step, str(error)))
        self.record("step.ready", step, status=step.status, input=step.input)
        if step.status == PENDING and issubclass(KINDS[step.kind], Control):
            self.todo.append(partial(self.decide, step))

    def decide(self, step: Step) -> None:
        """Has a control say what is to happen; when it was much already, in another transaction."""
        self.decisions += 1
        if step.status not in (PENDING, RUNNING) or self.decisions > MOST_DECISIONS:
            return
        try:
            self.apply(step, self.decision(step))
        except ServiceError as error:
            self.fail_step(step, error.message)

    def decision(self, step: Step) -> Answer:
        control = given(step)
        assert isinstance(control, Control)
        sees = partial(self.sight, step.scope, step.item)
        return control.decide(Here(self.run, step, self.defined(step)), sees)

    def apply(self, step: Step, answer: Answer) -> None:
        match answer:
            case Done(output):
                if step.memory:
                    asking.close_tasks(self, [step], "The time to decide is over")
                self.finish_step(step, output)
            case Again():
                step.memory, step.attempts = answer.memory, 0  # it has not failed
                at = answer.at or FOREVER
                is_long = answer.waits or at - now() > SOON
                self.put_back(step, "step.again", at, WAITING if is_long else PENDING)
            case Ask():
                asking.open_tasks(self, step, answer)
            case Spread():
                lanes.spread_out(self, step, answer)
            case Launch():
                children.launch(self, step, answer)

    def finish_step(self, step: Step, output: dict[str, Any], by: str | None = None) -> None:
        """The step is done; what follows it is made ready, or its lane is at its end."""
        self.end_step(step, DONE, output)
        self.record("step.done", step, by, output=output)
        self.go_on(step)

    def fail_step(self, step: Step, reason: str) -> None:
        """The step has failed for good: so does its lane, unless its definition says go on."""
        if step.status not in OPEN:
            return
        is_own = "~" in step.name
        goes_on = not is_own and self.defined(step).on_failure == "continue"
        output = {"error": reason} if goes_on else None
        self.end_step(step, DEAD, output, reason)
        self.record("step.dead", step, error=reason, output=output)
        if "started" in step.memory:
            ending.cancel_steps(self, *ending.interrupted(self), inside=step)
        asking.close_tasks(self, [step], reason)
        if goes_on or is_own or self.run.ends_as:
            self.go_on(step)
        elif step.scope:
            lanes.end_lane(self, step.scope, f"{step.path}: {reason}")
        else:
            ending.stop(self, FAILED, f"{step.path}: {reason}")

    def end_step(
        self, step: Step, status: str, output: dict[str, Any] | None, error: str | None = None
    ) -> None:
        step.status, step.output, step.last_error = status, output, error
        step.finished_at, step.lease_until = now(), None
        if output is not None:
            self.fresh.setdefault(step.scope, {})[step.name] = output

    def go_on(self, step: Step) -> None:
        if "~" in step.name and not step.name.endswith(UNDO):
            return None
        if self.run.ends_as:
            return ending.wind_down(self)
        if step.scope and lanes.around(self, step.scope).status != WAITING:
            return None  # the others of its lanes have decided without it
        following = (step.output or {}).get("next") if step.kind == "branch" else None
        if following := following or self.defined(step).next:
            return self.add(following, step.scope, step.item)
        if step.scope:
            return lanes.end_lane(self, step.scope)
        return self.complete()

    def complete(self) -> None:
        try:
            output = self.evaluate(self.definition.output, "", None, "output")
        except ExpressionError as error:
            return ending.stop(self, FAILED, str(error))
        self.run.output = output
        ending.end_run(self, COMPLETED, output=output)

    # -- other runs -------------------------------------------------------------------------------

    def held(self, run_id: UUID) -> "Move":
        """Another run, moved in the same transaction."""
        (run,) = hold(self.session, [run_id])
        self.others.append(Move(self.session, run))
        return self.others[-1]

    def begin_other(self, run: Run) -> None:
        self.session.add(run)
        self.session.flush()
        other = Move(self.session, run)
        other.decisions = MOST_DECISIONS  # else runs that start runs would do so without end
        self.others.append(other)
        other.begin()

    # -- small things -----------------------------------------------------------------------------

    def tell(self, about: Step | None, message: dict[str, Any]) -> None:
        """Has somebody told something, by a step of its own that is tried until it is done."""
        name = f"{about.name if about else 'run'}~{self.run.size + 1}"
        step = self.put(name, "communication.notify", about.scope if about else "")
        step.input, step.status = message, PENDING  # also in a run that is paused
        self.record("step.ready", step, status=PENDING, input=message)

    def put_back(self, step: Step, why: str, at: datetime, status: str) -> None:
        is_held = status == PENDING and self.run.status == PAUSED
        step.status, step.run_at, step.lease_until = HELD if is_held else status, at, None
        about = {"run_at": at.isoformat(), "error": step.last_error}
        self.record(why, step, status=step.status, **about)

    def step_at(self, scope: str, name: str) -> Step:
        if (scope, name) not in self.known:
            place = select(Step).filter_by(run_id=self.run.id, scope=scope, name=name)
            self.known[scope, name] = self.session.scalars(place).one()
        return self.known[scope, name]

    def defined(self, step: Step) -> StepDefinition:
        """What the definition says of the step; of the engine's own there is only the kind."""
        return self.definition.steps.get(step.name) or StepDefinition(kind=step.kind)

    def evaluate(self, value: Any, lane: str, item: dict[str, Any] | None, place: str) -> Any:
        return evaluate_all(value, self.sight(lane, item, "steps" in str(value)), place)

    def sight(self, lane: str, item: dict[str, Any] | None, with_steps: bool = True) -> Scope:
        """What expressions in a lane see; what steps gave costs a query, so only when they ask."""
        steps = self.seen_from(lane) if with_steps else {}
        about = {"id": str(self.run.id), "started_by": self.run.started_by}
        each = item or {"item": None, "index": None}
        return scope(input=self.run.input, steps=steps, run=about, **each)

    def seen_from(self, lane: str) -> dict[str, Any]:
        """What the steps of the lane gave, and of those around it."""
        names = lane.split("/") if lane else []
        seen: dict[str, Any] = {}
        for outer in ["/".join(names[:depth]) for depth in range(len(names) + 1)]:
            seen |= self.given_in(outer) | self.fresh.get(outer, {})
        return seen

    def given_in(self, lane: str) -> dict[str, Any]:
        if lane not in self.outputs:
            found = select(Step.name, Step.output).where(
                Step.run_id == self.run.id, Step.scope == lane, Step.output.is_not(None)
            )
            self.outputs[lane] = {name: output for name, output in self.session.execute(found)}
        return self.outputs[lane]

    def record(
        self, type: str, step: Step | None = None, by: str | None = None, **data: Any
    ) -> None:
        """A line of history, written with what happened: both are there or neither is.

        The lines of a run say everything that its state is made of.
        """
        about: dict[str, Any] = {"step_id": None, "step": None, "attempt": None}
        if step:
            about = {"step_id": step.id, "step": step.path, "attempt": step.attempts}
        self.lines.append(
            {"run_id": self.run.id, "type": type, "actor_id": by, "data": data, **about}
        )

    def show_status(self, status: str, by: str | None = None, **data: Any) -> None:
        if self.run.status != status:
            self.run.status = status
            self.record(f"run.{status}", None, by, **data)

    def close(self) -> list["Move"]:
        """Does what is left to do; gives all runs that were moved with this one, and itself."""
        while self.todo:
            self.todo.popleft()()
        if self.run.status in (RUNNING, WAITING):
            self.show_status(RUNNING if self.is_busy() else WAITING)
        return [self, *(moved for other in self.others for moved in other.close())]

    def is_busy(self) -> bool:
        active = (step for step in self.known.values() if "~" not in step.name)
        if any(step.status in (PENDING, RUNNING) for step in active):
            return True
        self.session.flush()
        busy = select(Step.id).where(
            Step.run_id == self.run.id, Step.status.in_((PENDING, RUNNING)), ~tells(Step)
        )
        return self.session.scalar(busy.limit(1)) is not None


def given(step: Step) -> Kind | Control:
    """The step's kind with what it takes; raises Terminal when that is not what it takes."""
    try:
        return KINDS[step.kind].model_validate(step.input)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(["with", *map(str, first["loc"])])
        raise Terminal(f"{place}: {first['msg']}") from error
