"""What a definition says: steps of some kind, with CEL expressions for inputs and conditions."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Annotated, Any, Literal

from jsonschema import Draft202012Validator, FormatChecker
from pydantic import ConfigDict, Field, StrictBool, WithJsonSchema

from chassis.errors import Unprocessable
from chassis.schemas import JsonObject, RequestModel, Text

Graph = Mapping[str, set[str]]
Fault = tuple[str, str]  # where and what: ("steps.review.next", "there is no step 'decison'")


def raise_for_faults(found: Iterable[Fault], error: type[Unprocessable]) -> None:
    """Raise the error with the first 50 faults, if there are any."""
    if faults := list(islice(found, 50)):
        errors = [{"field": field, "message": message} for field, message in faults]
        raise error("; ".join(map(": ".join, faults)), errors=errors)


StepName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=50)]
# Generated clients lose the values of an object whose names have a pattern in the schema.
StepKey = Annotated[StepName, WithJsonSchema({"type": "string"})]
RoleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=50)]
Expression = Annotated[Text, Field(max_length=500)]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0, le=366 * 86400)]


class InputSchema(RequestModel):
    """Describes the input of a run: JSON Schema without what is not safe to take from users.

    There is no `$ref`, which may lead anywhere, and no `pattern`, which can keep a core busy.
    """

    # One schema in OpenAPI for requests and responses, which would not see that they are equal.
    model_config = ConfigDict(json_schema_mode_override="validation")

    title: Text | None = None
    description: Text | None = None
    type: Literal["array", "boolean", "integer", "null", "number", "object", "string"]
    enum: list[Text | int | float | bool | None] | None = None
    format: Literal["date", "email", "uuid"] | None = None
    minLength: Count | None = None
    maxLength: Count | None = None
    minimum: float | None = None
    maximum: float | None = None
    items: "InputSchema | None" = None
    minItems: Count | None = None
    maxItems: Count | None = None
    properties: dict[Text, "InputSchema"] | None = None
    required: list[Text] | None = None
    additionalProperties: StrictBool = False

    def to_json_schema(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)

    def find_faults(self, given: Any, place: str = "input") -> Iterator[Fault]:
        """Find what is wrong with a value; a field that is not declared is a fault."""
        validator = Draft202012Validator(self.to_json_schema(), format_checker=FormatChecker())
        for error in validator.iter_errors(given):
            yield ".".join([place, *map(str, error.absolute_path)]), error.message[:500]


class BranchChoice(RequestModel):
    """Names the step that follows a branch when its condition is true."""

    when: Expression = Field(description="A CEL expression that is true or false.")
    next: StepName


class StepRetryPolicy(RequestModel):
    """Says how often a step that may work later is tried, and after which pauses in seconds."""

    attempts: int = Field(default=12, ge=1, le=100)
    pause: Seconds = Field(default=0.5, description="Before the second attempt.")
    growth: Literal["fixed", "exponential"] = Field(
        default="exponential", description="`exponential` doubles the pause each time."
    )
    longest_pause: Seconds = 300
    max_age: Seconds | None = Field(
        default=None, description="Seconds after which no attempt is made any more."
    )


class Sla(RequestModel):
    """Says what happens when a run or a step takes longer; people are notified in any case.

    A step fails as its `on_failure` says; `cancel` always cancels the run.
    """

    seconds: Seconds
    action: Literal["tell", "fail", "cancel"] = Field(
        default="tell", description="`tell` only notifies."
    )
    tell: list[Text] = Field(
        default=[], max_length=10, description="User ids; the starter when empty."
    )


class ModelBudget(RequestModel):
    """Limits what the models of a run may cost before someone has to allow as much again."""

    usd: float = Field(gt=0, le=1_000_000, description="In US dollars.")
    assignee_id: Expression | None = Field(
        default=None, description="Who allows more, as a CEL expression."
    )
    role: RoleName | None = Field(default=None, description="Whose users may allow more.")


class UndoStep(RequestModel):
    """Undoes the effect of a step; its expressions see the output of that step too."""

    kind: Text = Field(max_length=50)
    inputs: JsonObject = Field(default={}, alias="with")


class StepDefinition(RequestModel):
    """Defines one step. Every string in `with` is a CEL expression; write a text as `"'text'"`."""

    kind: Text = Field(max_length=50, description="The step type, such as `approval`.")
    inputs: JsonObject = Field(
        default={}, alias="with", description="The input of the step type; texts are expressions."
    )
    next: StepName | None = Field(default=None, description="The step after this one.")
    choices: list[BranchChoice] = Field(
        default=[], max_length=20, description="Of a `branch`: the first true one is taken."
    )
    otherwise: StepName | None = Field(
        default=None, description="Of a `branch`: the next step when no choice is true."
    )
    branches: dict[StepKey, StepName] = Field(
        default={}, max_length=20, description="Of a `parallel`: the first step of each branch."
    )
    do: StepName | None = Field(
        default=None, description="Of a `foreach`: the first step of each iteration."
    )
    join: Literal["all", "any"] = Field(
        default="all", description="`any`: the first branch that succeeds is enough."
    )
    retry: StepRetryPolicy | None = Field(
        default=None,
        description="Without one, the default policy, and up to a day of waiting for a service of"
        " this platform that does not answer.",
    )
    timeout: Seconds | None = Field(default=None, le=3600, description="Of one attempt.")
    on_failure: Literal["fail", "continue"] = Field(
        default="fail", description="`continue`: the run goes on with the next step."
    )
    undo: UndoStep | None = Field(
        default=None, description="What undoes the step when the run is compensated."
    )
    sla: Sla | None = None

    @property
    def retry_policy(self) -> StepRetryPolicy:
        return self.retry or StepRetryPolicy()

    def get_next_steps(self) -> dict[str, str]:
        """Return the steps that may follow by the field that names them: {"next": "review"}."""
        ways = {f"choices.{number}.next": choice.next for number, choice in enumerate(self.choices)}
        ways |= {"otherwise": self.otherwise} if self.otherwise else {}
        return ways | ({"next": self.next} if self.next else {})

    def get_branch_starts(self) -> dict[str, str]:
        """Return the first step of each branch that runs inside this one."""
        ways = {f"branches.{name}": first for name, first in self.branches.items()}
        return ways | ({"do": self.do} if self.do else {})


class Definition(RequestModel):
    """Defines a workflow. Expressions see `input`, `steps.<name>` and `run`."""

    title: Text = Field(min_length=1, max_length=200)
    description: Text = Field(default="", max_length=2000)
    input: InputSchema = InputSchema(type="object")
    start: StepName = Field(description="The name of the first step.")
    steps: dict[StepKey, StepDefinition] = Field(
        min_length=1, max_length=100, description="By their names."
    )
    output: JsonObject = Field(
        default={}, description="The output of a run; its texts are CEL expressions."
    )
    on_failure: Literal["fail", "compensate"] = Field(
        default="fail", description="`compensate` undoes the finished steps that have an `undo`."
    )
    sla: Sla | None = None
    budget: ModelBudget | None = None

    def get_next_steps(self) -> dict[str, set[str]]:
        """Return the steps that may come right after each one in its branch."""
        return {name: {*step.get_next_steps().values()} for name, step in self.steps.items()}

    def get_branch(self, first: str) -> set[str]:
        """Return all steps of the branch that begins with this one."""
        return {first} | find_reachable_steps(first, self.get_next_steps())


def find_reachable_steps(name: str, following: Graph) -> set[str]:
    """Return every step that may come after this one."""
    found = set[str]()
    added = following.get(name, set())
    while added:
        found |= added
        added = {after for one in added for after in following.get(one, ())} - found
    return found
