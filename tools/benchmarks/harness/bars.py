"""Prints the last lines of every benchmark, one per bar, and sets the exit status."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """Compares a measured value with a minimum or, with `is_maximum`, with a maximum."""

    name: str
    measured: float
    required: float
    is_maximum: bool = False

    @property
    def holds(self) -> bool:
        if self.is_maximum:
            return self.measured <= self.required
        return self.measured >= self.required

    def __str__(self) -> str:
        verdict = "ok" if self.holds else "short"
        relation = "<=" if self.is_maximum else ">="
        return f"BAR {self.name} {self.measured:.2f} {relation}{self.required:g} {verdict}"


def report(bars: Sequence[Bar]) -> None:
    """Print the bars and exit with 0 when all hold, otherwise with 1."""
    print(*bars, sep="\n")
    sys.exit(not all(bar.holds for bar in bars))
