"""The list of guarantees, each with a function that checks it and returns its evidence."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx

from .target import BrokenGuarantee, Level, NotApplicable, NotCheckable, Service

LEVELS: tuple[Level, ...] = ("open", "login", "outage")

Check = Callable[[Service], str]


@dataclass(frozen=True)
class Guarantee:
    """Holds one line of the kit's table and the function that checks it."""

    level: Level
    text: str
    check: Check


@dataclass(frozen=True)
class Verdict:
    """Represents the result of one check."""

    guarantee: str
    result: str  # kept, broken, skipped or unknown
    evidence: str


GUARANTEES: list[Guarantee] = []


def guarantee(level: Level, text: str) -> Callable[[Check], Check]:
    """Register the decorated function as the check of a guarantee."""

    def register(check: Check) -> Check:
        GUARANTEES.append(Guarantee(level, text, check))
        return check

    return register


def check_guarantees(service: Service) -> Iterator[Verdict]:
    """Check every guarantee of the level and of the levels before it."""
    levels = LEVELS[: LEVELS.index(service.options.level) + 1]
    for found in sorted(GUARANTEES, key=lambda each: LEVELS.index(each.level)):
        if found.level in levels:
            yield Verdict(found.text, *run_check(found.check, service))


def run_check(check: Check, service: Service) -> tuple[str, str]:
    try:
        return "kept", check(service)
    except NotApplicable as reason:
        return "skipped", str(reason)
    except NotCheckable as reason:
        return "unknown", str(reason)
    except (BrokenGuarantee, httpx.HTTPError, ValueError, KeyError, TypeError) as fault:
        return "broken", str(fault) if isinstance(fault, BrokenGuarantee) else repr(fault)
