"""What expressions see: the input of the run, and the outputs of steps in and around a branch."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..definition import expressions
from ..definition.expressions import Scope
from ..definition.paths import list_visible_scopes
from ..models import WORK, Run, Step


class ExpressionContext:
    """Evaluates the expressions of one run in one transaction; reads outputs once per branch."""

    def __init__(self, session: Session, run: Run) -> None:
        self.session = session
        self.run = run
        self._stored_outputs: dict[str, dict[str, Any]] = {}  # by scope
        self._new_outputs: dict[str, dict[str, Any]] = {}  # not in the database yet

    def add_output(self, step: Step) -> None:
        """Let later steps see the output in the same transaction."""
        if step.role == WORK and step.output is not None:
            self._new_outputs.setdefault(step.scope, {})[step.name] = step.output

    def evaluate(self, value: Any, scope: str, item: dict[str, Any] | None, place: str) -> Any:
        """Return the value with every expression in it replaced; `place` is for error messages."""
        names = self.build_scope(scope, item, outputs="steps" in str(value))
        return expressions.evaluate_all(value, names, place)

    def build_scope(self, scope: str, item: dict[str, Any] | None, outputs: bool = True) -> Scope:
        """Return the names that expressions see; the outputs of steps cost a query per branch."""
        steps = self._find_visible_outputs(scope) if outputs else {}
        run = {"id": str(self.run.id), "started_by": self.run.started_by}
        iteration = item or {"item": None, "index": None}
        return expressions.build_scope(input=self.run.input, steps=steps, run=run, **iteration)

    def _find_visible_outputs(self, scope: str) -> dict[str, Any]:
        visible: dict[str, Any] = {}
        for outer in list_visible_scopes(scope):
            visible |= self._load_outputs(outer) | self._new_outputs.get(outer, {})
        return visible

    def _load_outputs(self, scope: str) -> dict[str, Any]:
        if scope not in self._stored_outputs:
            steps = select(Step.name, Step.output).where(Step.output.is_not(None))
            rows = self.session.execute(steps.filter_by(run_id=self.run.id, scope=scope, role=WORK))
            self._stored_outputs[scope] = {name: output for name, output in rows}
        return self._stored_outputs[scope]
