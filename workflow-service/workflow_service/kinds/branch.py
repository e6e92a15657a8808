"""branch: go one way or another."""

from ..engine.outcomes import Call, Done, Kind


class Branch(Kind):
    """Takes nothing: the conditions are the definition's `choices`."""

    def perform(self, call: Call) -> Done:
        """Only a place in the history; which way to go is worked out by engine.runs.way_on."""
        return Done({})
