"""What is known of the values in a definition's runs before there is one: inputs, outputs, items.

An output is known as far as its step type declares it.
"""

from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from typing import Any

from .definition import model
from .definition.expression_checks import Names, infer_schema
from .definition.model import Definition
from .definition.value_schemas import OPEN, Schema, build_object, build_union, find_member
from .steps import STEP_TYPES

BRANCH = "branch"
TEXT: Schema = {"type": "string"}
RUN = build_object({"id": TEXT, "started_by": TEXT})
FAILURE = build_object({"error": TEXT})  # of a step with `on_failure: continue`


class KnownValues:
    """Knows which steps and values each step of one definition can see."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.steps = definition.steps
        following = definition.get_next_steps()
        self.reached = {
            name: following[name] | {*step.get_branch_starts().values()}
            for name, step in self.steps.items()
        }
        self.later = {name: model.find_reachable_steps(name, self.reached) for name in self.steps}
        self.inside = {name: self._find_inside(name) for name in self.steps}
        self.input = definition.input.to_json_schema()
        self.outputs: dict[str, Schema] = {}
        needed = {name: self.find_done(name) | self.inside[name] for name in self.steps}
        with suppress(CycleError):  # then nothing is known
            for name in TopologicalSorter(needed).static_order():
                self.outputs[name] = self._describe_output(name)

    def _find_inside(self, name: str) -> set[str]:
        """Return the steps that run in the branches or iterations of a step."""
        starts = {*self.steps[name].get_branch_starts().values()} & self.steps.keys()
        return (starts.union(*(self.later[first] for first in starts))) & self.steps.keys()

    def find_earlier(self, name: str) -> set[str]:
        return {earlier for earlier, later in self.later.items() if name in later}

    def find_done(self, name: str) -> set[str]:
        """Return the earlier steps that may be done when this one runs: not those around it."""
        return {each for each in self.find_earlier(name) if name not in self.inside[each]}

    def get_names(self, name: str | None, steps: set[str]) -> Names:
        """Return what the expressions of a step see, or those that belong to no step."""
        outputs = {each: self.outputs.get(each, OPEN) for each in sorted(steps)}
        names: dict[str, Schema] = {
            "input": self.input, "steps": build_object(outputs), "run": RUN
        }  # fmt: skip
        iterated = [e for e in self.steps if self.steps[e].do and name in self.inside[e]]
        if iterated:
            innermost = min(iterated, key=lambda each: len(self.inside[each]))
            items = Inference(self, innermost).infer(self.steps[innermost].inputs.get("items"))
            names |= {"item": find_member(items, None) or OPEN, "index": {"type": "integer"}}
        return names

    def _describe_output(self, name: str) -> Schema:
        step = self.steps[name]
        if step.kind not in STEP_TYPES:
            return OPEN
        output = STEP_TYPES[step.kind].describe_output(step, Inference(self, name))
        return build_union([output, FAILURE]) if step.on_failure == "continue" else output

    def describe_branch_output(self, first: str) -> Schema:
        """Return what is known of the output of a branch's last step, which may be one of many."""
        branch = [each for each in self.definition.get_branch(first) if each in self.steps]
        return build_union(self.outputs.get(each, OPEN) for each in branch if self._may_end(each))

    def _may_end(self, name: str) -> bool:
        step = self.steps[name]
        return not (step.otherwise if step.kind == BRANCH else step.next)


class Inference:
    """Tells a step type what is known of its inputs and of the branches inside it."""

    def __init__(self, known: KnownValues, name: str) -> None:
        self.names = known.get_names(name, known.find_done(name))
        self.describe_branch_output = known.describe_branch_output

    def infer(self, value: Any) -> Schema:
        if isinstance(value, str):
            return infer_schema(value, self.names)
        if isinstance(value, dict):
            return build_object({key: self.infer(part) for key, part in value.items()})
        return OPEN
