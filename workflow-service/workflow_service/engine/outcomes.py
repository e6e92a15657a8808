"""What a step kind is, what it is given and what it may answer."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

from chassis.errors import ServiceError, Unprocessable
from chassis.service_client import ServiceClient

from ..ai.usage import Spent
from ..models import Run, Step
from ..neighbours import Neighbours
from .definition import Strict


@dataclass(frozen=True)
class Call:
    """One attempt at a step."""

    run: Run
    step: Step
    neighbours: Neighbours
    spent: list[Spent] = field(default_factory=list)

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


class Terminal(Unprocessable):
    """No further attempt would help: the run fails, with this reason."""


Answer = Done | Again | Ask
Outcome = Answer | ServiceError


class Kind(Strict):
    """A step kind: its fields are what it takes, under `with` in a definition."""

    @abstractmethod
    def perform(self, call: Call) -> Answer:
        """One attempt. Raises Terminal, or a neighbour's error, whose status says what to do."""
