"""What expressions see: the run's input, and what steps gave, of their own lane and around it."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..definition.expressions import Scope, build_scope, evaluate_all
from ..definition.paths import list_visible_scopes
from ..models import WORK, Run, Step


class ExpressionContext:
    """Of one run, in one transaction."""

    def __init__(self, session: Session, run: Run) -> None:
        self.session, self.run = session, run
        self._outputs: dict[str, dict[str, Any]] = {}  # in the database, by scope
        self._new_outputs: dict[str, dict[str, Any]] = {}  # not yet there

    def add_output(self, step: Step) -> None:
        """What the step gave is seen at once."""
        if step.role == WORK and step.output is not None:
            self._new_outputs.setdefault(step.scope, {})[step.name] = step.output

    def evaluate(self, value: Any, lane: str, item: dict[str, Any] | None, place: str) -> Any:
        return evaluate_all(value, self.build_scope(lane, item, "steps" in str(value)), place)

    def build_scope(self, lane: str, item: dict[str, Any] | None, with_steps: bool = True) -> Scope:
        """What steps gave costs a query, so only when they are asked for."""
        steps = self._find_visible_outputs(lane) if with_steps else {}
        about = {"id": str(self.run.id), "started_by": self.run.started_by}
        each = item or {"item": None, "index": None}
        return build_scope(input=self.run.input, steps=steps, run=about, **each)

    def _find_visible_outputs(self, lane: str) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for outer in list_visible_scopes(lane):
            seen |= self._load_outputs(outer) | self._new_outputs.get(outer, {})
        return seen

    def _load_outputs(self, lane: str) -> dict[str, Any]:
        if lane not in self._outputs:
            found = select(Step.name, Step.output).where(
                Step.run_id == self.run.id,
                Step.scope == lane,
                Step.role == WORK,
                Step.output.is_not(None),
            )
            self._outputs[lane] = {name: output for name, output in self.session.execute(found)}
        return self._outputs[lane]
