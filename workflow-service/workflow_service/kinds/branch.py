"""branch: go one way or another."""

from ..engine.outcomes import Call, Done, Input


class BranchInput(Input):
    """Nothing: the conditions are the definition's `choices`."""


def branch(call: Call, given: BranchInput) -> Done:
    """Only a place in the history; which way to go is worked out by engine.runs.way_on."""
    return Done({})
