"""What a step kind is given and what it may answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from chassis.schemas import STRICT
from chassis.service_client import ServiceClient

from ..models import Run, Step
from ..neighbours import Neighbours


@dataclass(frozen=True)
class Call:
    """One attempt at a step."""

    run: Run
    step: Step
    neighbours: Neighbours

    def ask(self, neighbour: ServiceClient, method: str, path: str, *args: Any, **more: Any) -> Any:
        """Calls a neighbour, at a path below /api/v1, with the rights the run's starter has now.

        The call carries the step's key, the same at each attempt: what it does, it does once.
        """
        more["on_behalf_of"] = self.run.started_by
        more["headers"] = {"Idempotency-Key": str(self.step.id)}
        return neighbour.call(method, f"/api/v1/{path}", *args, **more)


@dataclass(frozen=True)
class Done:
    """The step is finished."""

    output: dict[str, Any]


@dataclass(frozen=True)
class Again:
    """Not finished yet: call again after some seconds. Meanwhile no worker is busy with it."""

    seconds: float


@dataclass(frozen=True)
class Ask:
    """The step waits for a person to decide; the decision is its output. The task has its id."""

    assignee_id: str
    title: str
    subject: dict[str, Any]


class Failure(Exception):
    """What went wrong in an attempt, in words that can be stored."""

    def __init__(self, reason: str, after: float = 0) -> None:
        storable = reason.encode(errors="replace").decode().replace("\x00", "")
        super().__init__(storable[:2000])
        self.after = after  # seconds before another attempt makes sense


class Retryable(Failure):
    """This attempt failed, another may not."""


class Terminal(Failure):
    """No further attempt would help: the run fails, with this reason."""


Answer = Done | Again | Ask
Outcome = Answer | Failure


class Input(BaseModel):
    """What a kind takes, under `with` in a definition: a subclass with its fields."""

    model_config = STRICT


@dataclass(frozen=True)
class Kind:
    """A step kind: its function, and the model of what it takes."""

    function: Callable[[Call, Any], Answer]
    takes: type[Input]
