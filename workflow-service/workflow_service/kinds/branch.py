"""branch: go one way or another."""

from pydantic import BaseModel

from chassis.schemas import STRICT

from ..engine.outcomes import Call, Done


class BranchInput(BaseModel):
    """Nothing: the conditions are the definition's `choices`."""

    model_config = STRICT


def branch(call: Call, given: BranchInput) -> Done:
    """Only a place in the history; which way to go is worked out by engine.runs.way_on."""
    return Done({})
