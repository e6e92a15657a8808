"""What is wrong with a definition: each fault with the path to it and what to do about it."""

from collections.abc import Iterator
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
    yield from list(target_faults(definition)) or order_faults(definition)
    for name, step in definition.steps.items():
        yield from kind_faults(f"steps.{name}", step)
        yield from expression_faults(f"steps.{name}", step, steps_before(definition, name))
    for place, text in expressions(definition.output, "output"):
        yield from ((place, fault) for fault in faults(text, {*definition.steps}))


def target_faults(definition: Definition) -> Iterator[Fault]:
    targets = {"start": definition.start}
    for name, step in definition.steps.items():
        targets |= {f"steps.{name}.{place}": target for place, target in step.ways_out().items()}
    for place, target in targets.items():
        if target not in definition.steps:
            known = ", ".join(definition.steps)
            yield place, f"there is no step {target}; the steps are: {known}"


def order_faults(definition: Definition) -> Iterator[Fault]:
    """Cycles, and steps that nothing leads to."""
    following = {name: {*step.ways_out().values()} for name, step in definition.steps.items()}
    try:
        TopologicalSorter(following).prepare()
    except CycleError as error:
        way = " -> ".join(reversed(error.args[1]))
        yield f"steps.{error.args[1][0]}", f"comes back to itself: {way}; a run must have an end"
    for name in following.keys() - reachable(following, definition.start):
        yield f"steps.{name}", "no step leads here: name it in another step's next, or remove it"


def reachable(following: dict[str, set[str]], start: str) -> set[str]:
    found, pending = set[str](), [start]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += following.get(name, ())
    return found


def steps_before(definition: Definition, name: str) -> set[str]:
    leading: dict[str, set[str]] = {}
    for source, step in definition.steps.items():
        for target in step.ways_out().values():
            leading.setdefault(target, set()).add(source)
    return set().union(*(reachable(leading, source) for source in leading.get(name, ())))


def kind_faults(place: str, step: StepDefinition) -> Iterator[Fault]:
    kind = KINDS.get(step.kind)
    if kind is None:
        yield f"{place}.kind", f"there is no kind {step.kind}; the kinds are: {', '.join(KINDS)}"
        return
    fields = kind.takes.model_fields
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


def expression_faults(place: str, step: StepDefinition, seen: set[str]) -> Iterator[Fault]:
    choices = [{"when": choice.when} for choice in step.choices]
    for part in ({"with": step.inputs}, {"choices": choices}):
        for where, text in expressions(part, place):
            yield from ((where, fault) for fault in faults(text, seen))


def expressions(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Every expression in a JSON value, with the path to it."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from expressions(part, f"{place}.{key}")
