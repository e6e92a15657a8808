"""What can happen to a run. Every file of the engine reports with these; transitions.py acts."""

from dataclasses import dataclass
from typing import Any

from ..models import Step
from ..steps.protocol import StepResult


@dataclass(frozen=True, slots=True)
class StartRun:
    """A run that a step has started enters its first step."""


@dataclass(frozen=True, slots=True)
class EnterStep:
    """A step of the definition is next in this branch."""

    name: str
    scope: str = ""
    item: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ControlReady:
    """A control step can be evaluated; it needs no worker."""

    step: Step


@dataclass(frozen=True, slots=True)
class ResultReceived:
    """A step type has answered."""

    step: Step
    result: StepResult


@dataclass(frozen=True, slots=True)
class StepFinished:
    """A step is done; `by` is the user who decided it."""

    step: Step
    output: dict[str, Any]
    by: str | None = None


@dataclass(frozen=True, slots=True)
class StepFailed:
    """A step has failed, and is not tried again."""

    step: Step
    reason: str


@dataclass(frozen=True, slots=True)
class StepLeft:
    """What follows the step can begin, or its branch has ended."""

    step: Step


@dataclass(frozen=True, slots=True)
class BranchEnded:
    """The last step of a branch is done, or one of its steps has failed."""

    scope: str
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class StopRun:
    """The run is to end as failed or cancelled, after compensation."""

    status: str
    reason: str | None
    by: str | None = None


Event = (
    StartRun | EnterStep | ControlReady | ResultReceived | StepFinished | StepFailed | StepLeft
    | BranchEnded | StopRun
)  # fmt: skip
