"""The list of promises, each a function that returns its evidence; and the verdicts on them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx

from .target import BrokenGuarantee, Level, NotApplicable, NotCheckable, Service

LEVELS: tuple[Level, ...] = ("open", "login", "outage")

Check = Callable[[Service], str]


@dataclass(frozen=True)
class Guarantee:
    level: Level
    text: str
    check: Check


@dataclass(frozen=True)
class Verdict:
    guarantee: str
    result: str  # kept, broken, not asked or unknown
    evidence: str


GUARANTEES: list[Guarantee] = []


def guarantee(level: Level, text: str) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        GUARANTEES.append(Guarantee(level, text, check))
        return check

    return register


def check_guarantees(service: Service) -> Iterator[Verdict]:
    """On every promise of the level and those before it."""
    asked = LEVELS[: LEVELS.index(service.options.level) + 1]
    for found in sorted(GUARANTEES, key=lambda p: LEVELS.index(p.level)):
        if found.level in asked:
            yield Verdict(found.text, *run_check(found.check, service))


def run_check(check: Check, service: Service) -> tuple[str, str]:
    try:
        return "kept", check(service)
    except NotApplicable as reason:
        return "not asked", str(reason)
    except NotCheckable as reason:
        return "unknown", str(reason)
    except (BrokenGuarantee, httpx.HTTPError, ValueError, KeyError, TypeError) as fault:
        return "broken", str(fault) if isinstance(fault, BrokenGuarantee) else repr(fault)
