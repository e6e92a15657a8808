"""What is wrong with a definition: each fault with the path to it and what to do about it."""

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from chassis.errors import Unprocessable
from chassis.schemas import JsonObject

from .definition.expressions import GLOBAL_NAMES, ITEM_NAMES, find_expression_faults
from .definition.model import (
    Definition,
    Fault,
    Graph,
    Sla,
    StepDefinition,
    find_reachable_steps,
    raise_for_faults,
)
from .steps import STEP_TYPES
from .steps.protocol import ControlStep, StepInput

BRANCH = "branch"


class InvalidDefinition(Unprocessable):
    """A definition that could not run to its end."""


def check_definition(definition: Definition) -> None:
    """Raises InvalidDefinition with everything that is wrong."""
    raise_for_faults(definition_faults(definition), InvalidDefinition)


def definition_faults(definition: Definition) -> Iterator[Fault]:
    if definition.input.type != "object":
        yield "input.type", "must be object"
    steps = definition.steps
    following = definition.get_next_steps()
    reached = {
        name: following[name] | {*steps[name].get_branch_starts().values()} for name in steps
    }
    broken = list(target_faults(definition)) or list(order_faults(reached, definition.start))
    yield from broken or lane_faults(definition)
    later = {name: find_reachable_steps(name, reached) for name in steps}
    lanes = {
        one for first in firsts_of_items(definition) for one in {first} | later.get(first, set())
    }
    for name, step in steps.items():
        before = {earlier for earlier in later if name in later[earlier]}
        names = GLOBAL_NAMES | (ITEM_NAMES if name in lanes else set())
        yield from kind_faults(f"steps.{name}", step)
        yield from step_faults(f"steps.{name}", step, before, names)
        if step.undo:
            yield from kind_faults(f"steps.{name}.undo", step.undo)
            undo = {"with": step.undo.inputs}
            yield from expression_faults(undo, f"steps.{name}.undo", before | {name}, names)
        yield from sla_faults(f"steps.{name}.sla", step.sla)
    yield from sla_faults("sla", definition.sla)
    main = definition.get_branch(definition.start)
    yield from expression_faults(definition.output, "output", main, GLOBAL_NAMES)
    if definition.budget and definition.budget.assignee_id:
        asked = definition.budget.assignee_id
        yield from expression_faults(asked, "budget.assignee_id", set(), GLOBAL_NAMES)


def sla_faults(place: str, sla: Sla | None) -> Iterator[Fault]:
    """Said here and not in the model, which has to read what was published before."""
    for number, user_id in enumerate(sla.tell if sla else []):
        try:
            UUID(user_id)
        except ValueError:
            yield f"{place}.tell.{number}", f"{user_id[:100]} is no user id"


def target_faults(definition: Definition) -> Iterator[Fault]:
    targets = {"start": definition.start}
    for name, step in definition.steps.items():
        ways = step.get_next_steps() | step.get_branch_starts()
        targets |= {f"steps.{name}.{place}": target for place, target in ways.items()}
    for place, target in targets.items():
        if target not in definition.steps:
            known = ", ".join(definition.steps)
            yield place, f"there is no step {target}; the steps are: {known}"


def order_faults(reached: Graph, start: str) -> Iterator[Fault]:
    """Cycles, and steps that nothing leads to."""
    try:
        TopologicalSorter(reached).prepare()
    except CycleError as error:
        way = " -> ".join(reversed(error.args[1]))
        yield f"steps.{error.args[1][0]}", f"comes back to itself: {way}; a run must have an end"
    for name in reached.keys() - find_reachable_steps(start, reached) - {start}:
        yield f"steps.{name}", "no step leads here: name it in another step's next, or remove it"


def lane_faults(definition: Definition) -> Iterator[Fault]:
    """A step belongs to one lane: the main one, or one that runs inside another step."""
    owners = dict.fromkeys(definition.get_branch(definition.start), "start")
    for name, step in definition.steps.items():
        for place, first in step.get_branch_starts().items():
            for one in definition.get_branch(first):
                lane = f"steps.{name}.{place}"
                if one in owners:
                    yield lane, f"leads to {one}, which {owners[one]} leads to as well"
                owners[one] = lane


def firsts_of_items(definition: Definition) -> list[str]:
    return [step.do for step in definition.steps.values() if step.do]


def kind_faults(place: str, step: Any) -> Iterator[Fault]:
    """Of a step, or of what undoes it."""
    kind = STEP_TYPES.get(step.kind)
    if kind is None:
        yield (
            f"{place}.kind",
            f"there is no kind {step.kind}; the kinds are: {', '.join(STEP_TYPES)}",
        )
        return
    fields = kind.model_fields
    for name in step.inputs.keys() - fields.keys():
        known = ", ".join(fields) or "nothing"
        yield f"{place}.with.{name}", f"is unknown to {step.kind}, which takes: {known}"
    for name, field in fields.items():
        if field.is_required() and name not in step.inputs:
            yield f"{place}.with.{name}", f"is missing: {step.kind} needs it"
    one_of = kind.exactly_one_of or kind.at_least_one_of
    if one_of and not step.inputs.keys() & {*one_of}:
        yield f"{place}.with.{one_of[0]}", f"is missing: give {' or '.join(one_of)}"
    yield from constant_faults(place, kind, step.inputs)
    if place.endswith(".undo") and issubclass(kind, ControlStep):
        yield f"{place}.kind", f"{step.kind} undoes nothing: use a kind that calls somebody"


def constant_faults(place: str, kind: type[StepInput], inputs: JsonObject) -> Iterator[Fault]:
    """What is no expression is known already."""
    known = {name: inputs[name] for name in kind.model_fields.keys() & inputs.keys()}
    known = {name: value for name, value in known.items() if is_constant(value)}
    try:
        kind.model_validate(known)
    except ValidationError as error:
        for fault in error.errors():
            if fault["loc"] and fault["loc"][0] in known:
                yield ".".join([f"{place}.with", *map(str, fault["loc"])]), fault["msg"]


def is_constant(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(map(is_constant, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, str)


def step_faults(
    place: str, step: StepDefinition, before: set[str], names: set[str]
) -> Iterator[Fault]:
    conditions = [{"when": choice.when} for choice in step.choices]
    expressions = {"with": step.inputs, "choices": conditions}
    yield from expression_faults(expressions, place, before, names)
    if step.kind == BRANCH and (step.next or not step.choices):
        yield f"{place}.choices", "a branch has choices, and otherwise in place of next"
    if step.kind != BRANCH and (step.choices or step.otherwise):
        yield f"{place}.kind", f"only the kind {BRANCH} has choices and otherwise; use next"
    needed = getattr(STEP_TYPES.get(step.kind), "branches_field", "")
    for field in ("branches", "do"):
        if bool(getattr(step, field)) != (field == needed):
            verb = "needs" if field == needed else "has no"
            yield f"{place}.{field}", f"{step.kind} {verb} {field}"


def expression_faults(value: Any, place: str, seen: set[str], names: set[str]) -> Iterator[Fault]:
    """Of every expression in a JSON value, each with the path to it. They see the steps `seen`."""
    if isinstance(value, str):
        yield from ((place, fault) for fault in find_expression_faults(value, seen, names))
    elif isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from expression_faults(part, f"{place}.{key}", seen, names)
