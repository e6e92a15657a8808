"""The list of promises, each a function that returns its evidence; and the verdicts on them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx

from .target import Broken, Level, NotAsked, Service, Unknown

LEVELS: tuple[Level, ...] = ("open", "login", "outage")

Check = Callable[[Service], str]


@dataclass(frozen=True)
class Promise:
    level: Level
    words: str
    check: Check


@dataclass(frozen=True)
class Verdict:
    promise: str
    word: str  # kept, broken, not asked or unknown
    evidence: str


PROMISES: list[Promise] = []


def promise(level: Level, words: str) -> Callable[[Check], Check]:
    def listed(check: Check) -> Check:
        PROMISES.append(Promise(level, words, check))
        return check

    return listed


def verdicts(service: Service) -> Iterator[Verdict]:
    """On every promise of the level and those before it."""
    asked = LEVELS[: LEVELS.index(service.question.level) + 1]
    for found in sorted(PROMISES, key=lambda p: LEVELS.index(p.level)):
        if found.level in asked:
            yield Verdict(found.words, *judged(found.check, service))


def judged(check: Check, service: Service) -> tuple[str, str]:
    try:
        return "kept", check(service)
    except NotAsked as reason:
        return "not asked", str(reason)
    except Unknown as reason:
        return "unknown", str(reason)
    except (Broken, httpx.HTTPError, ValueError, KeyError, TypeError) as fault:
        return "broken", str(fault) if isinstance(fault, Broken) else repr(fault)
