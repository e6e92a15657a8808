"""What a definition says: steps, each of a kind, with CEL expressions for inputs and conditions."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from jsonschema import Draft202012Validator, FormatChecker
from pydantic import BaseModel, Field

from chassis.errors import Unprocessable
from chassis.schemas import STRICT, JsonObject, Text

Fault = tuple[str, str]
"""Where and what: ("steps.review.next", "there is no step 'decison'")."""


def refuse(found: Iterable[Fault], error: type[Unprocessable]) -> None:
    """Raises the error with all faults, if there are any."""
    if faults := list(found)[:50]:
        errors = [{"field": field, "message": message} for field, message in faults]
        raise error("; ".join(map(": ".join, faults)), errors=errors)


StepName = Annotated[Text, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=50)]
Expression = Annotated[Text, Field(max_length=500)]
Count = Annotated[int, Field(ge=0)]


class Strict(BaseModel):
    """What a request may hold: nothing but the fields that a model names."""

    model_config = STRICT


class InputSchema(Strict):
    """JSON Schema, but for what is not safe to take from users.

    No `$ref`, which may lead anywhere; no `pattern`, with which one text can keep a core busy.
    """

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
    additionalProperties: bool = False

    def faults(self, given: dict[str, Any]) -> Iterator[Fault]:
        """What is wrong with the input of a run. Fields that are not declared are refused."""
        schema = self.model_dump(mode="json", exclude_none=True)
        validator = Draft202012Validator(schema, format_checker=FormatChecker())
        for error in validator.iter_errors(given):
            yield ".".join(["input", *map(str, error.absolute_path)]), error.message[:500]


class Choice(Strict):
    """One way out of a branch, taken when its condition is true."""

    when: Expression
    next: StepName


class StepDefinition(Strict):
    """Every string in `with` is a CEL expression; a text of your own is written `"'text'"`."""

    kind: Text = Field(max_length=50)
    inputs: JsonObject = Field(default={}, alias="with")
    next: StepName | None = None
    choices: list[Choice] = Field(default=[], max_length=20)
    otherwise: StepName | None = None

    def ways_out(self) -> dict[str, str]:
        """Each following step by the place that names it: {"choices.0.next": "approved"}."""
        ways = {f"choices.{number}.next": choice.next for number, choice in enumerate(self.choices)}
        ways |= {"otherwise": self.otherwise} if self.otherwise else {}
        return ways | ({"next": self.next} if self.next else {})


class Definition(Strict):
    """A workflow. `input` is a JSON schema; expressions see `input`, `steps.<name>` and `run`."""

    title: Text = Field(min_length=1, max_length=200)
    description: Text = Field(default="", max_length=2000)
    input: InputSchema = InputSchema(type="object")
    start: StepName
    steps: dict[StepName, StepDefinition] = Field(min_length=1, max_length=100)
    output: JsonObject = {}
