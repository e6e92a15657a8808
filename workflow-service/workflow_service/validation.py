"""What is wrong with a definition: each fault with the path to it and what to do about it."""

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from chassis.errors import Unprocessable
from chassis.schemas import JsonObject

from .definition import model
from .definition.expression_checks import Names, find_expression_faults
from .definition.model import Definition, Fault, InputSchema, Sla, StepDefinition, UndoStep
from .definition.value_schemas import suggest_or_list
from .known_values import BRANCH, KnownValues
from .steps import STEP_TYPES
from .steps.protocol import ControlStep, StepInput


class InvalidDefinition(Unprocessable):
    """Raised for a definition that could not run to its end."""


def check_definition(definition: Definition) -> None:
    """Raise InvalidDefinition with everything that is wrong."""
    model.raise_for_faults(DefinitionChecker(definition).check(), InvalidDefinition)


class DefinitionChecker:
    """Finds the faults of one definition; each check yields those of one kind."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.steps = definition.steps
        self.known = KnownValues(definition)

    def check(self) -> Iterator[Fault]:
        if self.definition.input.type != "object":
            yield "input.type", "must be object"
        yield from check_required(self.definition.input, "input")
        # In a broken graph the later checks would name faults that are none.
        yield from list(self.check_targets()) or list(self.check_order()) or self.check_branches()
        for name, step in self.steps.items():
            yield from self.check_step(name, step)
        yield from self.check_whole()

    def check_targets(self) -> Iterator[Fault]:
        """Find names of steps that are not there."""
        targets = {"start": self.definition.start}
        for name, step in self.steps.items():
            named = step.get_next_steps() | step.get_branch_starts()
            targets |= {f"steps.{name}.{place}": target for place, target in named.items()}
        for place, target in targets.items():
            if target not in self.steps:
                instead = suggest_or_list(target, self.steps, "the steps are")
                yield place, f"there is no step {target}{instead}"

    def check_order(self) -> Iterator[Fault]:
        """Find cycles, and steps that no step leads to."""
        try:
            TopologicalSorter(self.known.reached).prepare()
        except CycleError as error:
            cycle = error.args[1]
            way = " -> ".join(reversed(cycle))
            yield f"steps.{cycle[0]}", f"comes back to itself: {way}; a run must have an end"
        start = self.definition.start
        for name in self.steps.keys() - self.known.later[start] - {start}:
            hint = "name it in another step's next, or remove it"
            yield f"steps.{name}", f"no step leads here: {hint}"

    def check_branches(self) -> Iterator[Fault]:
        """Find steps that two branches share; the main branch counts as one."""
        main = self.definition.get_branch(self.definition.start)
        owners = dict.fromkeys(main, "start")
        for name, step in self.steps.items():
            for place, first in step.get_branch_starts().items():
                branch = f"steps.{name}.{place}"
                for one in self.definition.get_branch(first):
                    if one in owners:
                        yield branch, f"leads to {one}, which {owners[one]} leads to as well"
                    owners[one] = branch

    def check_step(self, name: str, step: StepDefinition) -> Iterator[Fault]:
        place = f"steps.{name}"
        names = self.known.get_names(name, self.known.find_done(name))
        expressions = {"with": step.inputs, "choices": [{"when": one.when} for one in step.choices]}
        yield from check_type(place, step)
        yield from check_expressions(expressions, place, names)
        yield from check_fields(place, step)
        if step.undo:
            undo = {"with": step.undo.inputs}
            yield from check_type(f"{place}.undo", step.undo)
            # It runs later, when also the steps around this one may be done.
            names = self.known.get_names(name, self.known.find_earlier(name) | {name})
            yield from check_expressions(undo, f"{place}.undo", names)
        yield from check_sla(f"{place}.sla", step.sla)

    def check_whole(self) -> Iterator[Fault]:
        """Check what belongs to no step: sla, output and budget."""
        definition = self.definition
        yield from check_sla("sla", definition.sla)
        main = definition.get_branch(definition.start)
        names = self.known.get_names(None, main & self.steps.keys())
        yield from check_expressions(definition.output, "output", names)
        if definition.budget and definition.budget.assignee_id:
            assignee = definition.budget.assignee_id
            names = self.known.get_names(None, set())
            yield from check_expressions(assignee, "budget.assignee_id", names)


def check_required(schema: InputSchema, place: str) -> Iterator[Fault]:
    """Find required fields that no input could have, since they are not declared."""
    declared = schema.properties or {}
    is_closed = bool(declared) and not schema.additionalProperties
    for number, name in enumerate(schema.required or []):
        if is_closed and name not in declared:
            instead = suggest_or_list(name, declared, "the properties are")
            yield f"{place}.required.{number}", f"there is no property {name[:100]}{instead}"
    for name, part in declared.items():
        yield from check_required(part, f"{place}.properties.{name}")
    if schema.items:
        yield from check_required(schema.items, f"{place}.items")


def check_sla(place: str, sla: Sla | None) -> Iterator[Fault]:
    """Check the user ids here and not in the model, which has to read older definitions."""
    for number, user_id in enumerate(sla.tell if sla else []):
        try:
            UUID(user_id)
        except ValueError:
            yield f"{place}.tell.{number}", f"{user_id[:100]} is no user id"


def check_type(place: str, step: StepDefinition | UndoStep) -> Iterator[Fault]:
    """Check the kind of a step, or of what undoes it, and the names of its inputs."""
    step_type = STEP_TYPES.get(step.kind)
    if step_type is None:
        instead = suggest_or_list(step.kind, sorted(STEP_TYPES), "the kinds are")
        yield f"{place}.kind", f"there is no kind {step.kind}{instead}"
        return
    fields = step_type.model_fields
    for name in step.inputs.keys() - fields.keys():
        instead = suggest_or_list(name, fields, "it takes")
        yield f"{place}.with.{name}", f"is unknown to {step.kind}{instead}"
    for name, field in fields.items():
        if field.is_required() and name not in step.inputs:
            yield f"{place}.with.{name}", f"is missing: {step.kind} needs it"
    one_of = step_type.exactly_one_of or step_type.at_least_one_of
    if one_of and not step.inputs.keys() & {*one_of}:
        yield f"{place}.with.{one_of[0]}", f"is missing: give {' or '.join(one_of)}"
    yield from check_constants(place, step_type, step.inputs)
    if isinstance(step, UndoStep) and issubclass(step_type, ControlStep):
        yield f"{place}.kind", f"{step.kind} undoes nothing: use a kind that calls a service"


def check_constants(place: str, step_type: type[StepInput], inputs: JsonObject) -> Iterator[Fault]:
    """Validate the inputs that are no expressions, whose values are known already."""
    known = {name: inputs[name] for name in step_type.model_fields.keys() & inputs.keys()}
    constants = {name: value for name, value in known.items() if is_constant(value)}
    try:
        step_type.model_validate(constants)
    except ValidationError as error:
        for fault in error.errors():
            if fault["loc"] and fault["loc"][0] in constants:
                yield ".".join([f"{place}.with", *map(str, fault["loc"])]), fault["msg"]


def is_constant(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(is_constant, value.values()))
    if isinstance(value, list):
        return all(map(is_constant, value))
    return not isinstance(value, str)


def check_fields(place: str, step: StepDefinition) -> Iterator[Fault]:
    """Check the fields that only some kinds have: choices, otherwise, branches, do."""
    if step.kind == BRANCH and (step.next or not step.choices):
        yield f"{place}.choices", "a branch has choices, and otherwise in place of next"
    if step.kind != BRANCH and (step.choices or step.otherwise):
        yield f"{place}.kind", f"only the kind {BRANCH} has choices and otherwise; use next"
    needed = getattr(STEP_TYPES.get(step.kind), "branches_field", "")
    for field in ("branches", "do"):
        if bool(getattr(step, field)) != (field == needed):
            verb = "needs" if field == needed else "has no"
            yield f"{place}.{field}", f"{step.kind} {verb} {field}"


def check_expressions(value: Any, place: str, names: Names) -> Iterator[Fault]:
    """Check every expression in a JSON value; they see these names."""
    if isinstance(value, str):
        for fault in find_expression_faults(value, names):
            yield place, fault
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from check_expressions(part, f"{place}.{key}", names)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from check_expressions(part, f"{place}.{number}", names)
