"""Compares results with bars: prints the last lines of a benchmark and sets the exit status."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from .load import Result


def get_rate(runs: Sequence[Result]) -> float:
    return median(run.per_second for run in runs)


def get_latency(runs: Sequence[Result], percent: float) -> float:
    """Return the median of a percentile, in milliseconds."""
    return median(run.get_percentile(percent) for run in runs) * 1000


@dataclass(frozen=True)
class Bar:
    """Compares a measured value with a minimum or, with `is_maximum`, with a maximum."""

    name: str
    measured: float
    required: float
    is_maximum: bool = False

    @property
    def holds(self) -> bool:
        return self.measured <= self.required if self.is_maximum else self.measured >= self.required

    def __str__(self) -> str:
        verdict = "ok" if self.holds else "short"
        relation = "<=" if self.is_maximum else ">="
        return f"BAR {self.name} {self.measured:.2f} {relation}{self.required:g} {verdict}"


def report(bars: Sequence[Bar]) -> None:
    """Print the bars and exit with 0 when all hold, otherwise with 1."""
    print(*bars, sep="\n")
    sys.exit(not all(bar.holds for bar in bars))
