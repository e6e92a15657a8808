"""What is wrong with a definition: each fault with the path to it and what to do about it."""

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from chassis.errors import Unprocessable

from ..kinds import BRANCH, KINDS
from .definition import Definition, Fault, StepDefinition, refuse
from .expressions import faults


class InvalidDefinition(Unprocessable):
    """A definition that could not run to its end."""


def check(definition: Definition) -> None:
    """Raises InvalidDefinition with everything that is wrong."""
    refuse(definition_faults(definition), InvalidDefinition)


def definition_faults(definition: Definition) -> Iterator[Fault]:
    if definition.input.type != "object":
        yield "input.type", "must be object"
    following = {name: {*step.ways_out().values()} for name, step in definition.steps.items()}
    yield from list(target_faults(definition)) or order_faults(following, definition.start)
    later = {name: steps_after(name, following) for name in following}
    for name, step in definition.steps.items():
        before = {earlier for earlier in later if name in later[earlier]}
        yield from kind_faults(f"steps.{name}", step)
        conditions = [{"when": choice.when} for choice in step.choices]
        expressions = {"with": step.inputs, "choices": conditions}
        yield from expression_faults(expressions, f"steps.{name}", before)
    yield from expression_faults(definition.output, "output", {*definition.steps})


def target_faults(definition: Definition) -> Iterator[Fault]:
    targets = {"start": definition.start}
    for name, step in definition.steps.items():
        targets |= {f"steps.{name}.{place}": target for place, target in step.ways_out().items()}
    for place, target in targets.items():
        if target not in definition.steps:
            known = ", ".join(definition.steps)
            yield place, f"there is no step {target}; the steps are: {known}"


def order_faults(following: Mapping[str, set[str]], start: str) -> Iterator[Fault]:
    """Cycles, and steps that nothing leads to."""
    try:
        TopologicalSorter(following).prepare()
    except CycleError as error:
        way = " -> ".join(reversed(error.args[1]))
        yield f"steps.{error.args[1][0]}", f"comes back to itself: {way}; a run must have an end"
    for name in following.keys() - steps_after(start, following) - {start}:
        yield f"steps.{name}", "no step leads here: name it in another step's next, or remove it"


def steps_after(name: str, following: Mapping[str, set[str]]) -> set[str]:
    """Every step that may come after this one."""
    found, added = set[str](), following[name]
    while added:
        found |= added
        added = {after for one in added for after in following.get(one, ())} - found
    return found


def kind_faults(place: str, step: StepDefinition) -> Iterator[Fault]:
    kind = KINDS.get(step.kind)
    if kind is None:
        yield f"{place}.kind", f"there is no kind {step.kind}; the kinds are: {', '.join(KINDS)}"
        return
    fields = kind.model_fields
    for name in step.inputs.keys() - fields.keys():
        known = ", ".join(fields) or "nothing"
        yield f"{place}.with.{name}", f"is unknown to {step.kind}, which takes: {known}"
    for name, field in fields.items():
        if field.is_required() and name not in step.inputs:
            yield f"{place}.with.{name}", f"is missing: {step.kind} needs it"
    if step.kind == BRANCH and (step.next or not step.choices):
        yield f"{place}.choices", "a branch has choices, and otherwise in place of next"
    if step.kind != BRANCH and (step.choices or step.otherwise):
        yield f"{place}.kind", f"only the kind {BRANCH} has choices and otherwise; use next"


def expression_faults(value: Any, place: str, seen: set[str]) -> Iterator[Fault]:
    """Of every expression in a JSON value, each with the path to it. They see the steps `seen`."""
    if isinstance(value, str):
        yield from ((place, fault) for fault in faults(value, seen))
    elif isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from expression_faults(part, f"{place}.{key}", seen)
