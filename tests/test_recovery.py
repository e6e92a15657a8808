"""Processes die, Redis forgets everything, identity goes away: nothing is lost."""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any

import httpx
import pytest

from .people import (
    NO_CERTIFICATES,
    PROTECTED,
    Person,
    Stack,
    eventually,
    mails,
    register,
)
from .reviews import (
    LEASE_OVER,
    Review,
    frozen,
    inbox,
    prepared,
    started,
    steps_under_way,
    stopped,
)

STALENESS = 5.0  # seconds: AUTH_MAX_STALENESS_SECONDS
LONGEST_POLL = 2.0  # seconds between the last two answers of identity's change feed
LONGEST_ANSWER = 6.0  # seconds that any request may take while identity is away

Away = Callable[[Stack, str], AbstractContextManager[None]]


@contextmanager
def without_identity(stack: Stack, away: Away = stopped) -> Iterator[None]:
    """Away inside, back afterwards, with all services knowing it."""
    with away(stack, "identity-service"):
        yield
    person = register(stack)
    for service in PROTECTED:
        eventually(partial(is_served, person, service))


def is_served(person: Person, service: str) -> bool:
    return asks(person, service).is_success


def asks(person: Person, service: str) -> httpx.Response:
    return person.ask("GET", service, PROTECTED[service])


# -- kill -9 ------------------------------------------------------------------------------------


def test_a_worker_killed_in_the_middle_of_a_step_changes_nothing_but_the_time(
    stack: Stack,
) -> None:
    review = prepared(stack)
    with frozen(stack, "content-service"):
        review.starts()
        eventually(lambda: steps_under_way(review))

        stack.kill("workflow-worker")

    review.is_approved()
    review.has_done_everything_once(stack)


def test_a_worker_killed_in_the_middle_of_a_delivery_delivers_once(stack: Stack) -> None:
    sender, recipient = register(stack), register(stack)
    message = {"recipient_id": recipient.user_id, "subject": "Once", "body": "Only once"}
    with frozen(stack, "mail"):
        sent = sender.post("communication", "/notifications", json=message)
        eventually(lambda: deliveries_under_way(sender, sent))

        stack.kill("communication-worker")

    found = eventually(lambda: mails(stack, recipient.email), LEASE_OVER)
    eventually(lambda: is_delivered(sender, sent), LEASE_OVER)
    assert len({mail["messageId"] for mail in found}) == 1
    assert len(mails(stack, recipient.email)) == 1
    assert len(inbox(recipient, "Only once")) == 1


def deliveries_under_way(sender: Person, sent: Any) -> list[Any]:
    attempts = sender.get("communication", f"/notifications/{sent['id']}/attempts")["items"]
    return [a for a in attempts if a["channel"] == "email" and a["finished_at"] is None]


def is_delivered(sender: Person, sent: Any) -> bool:
    now = sender.get("communication", f"/notifications/{sent['id']}")
    return {delivery["status"] for delivery in now["deliveries"]} == {"delivered"}


def test_workers_killed_again_and_again_lose_and_repeat_nothing(stack: Stack) -> None:
    def kill_workers() -> None:
        stack.kill("workflow-worker")
        stack.kill("communication-worker")

    with ThreadPoolExecutor() as pool:
        reviews = list(pool.map(lambda _: started(stack), range(4)))
        kill_workers()
        eventually(lambda: mails(stack, reviews[0].reviewer.email), LEASE_OVER)
        kill_workers()
        list(pool.map(Review.is_approved, reviews))
        eventually(lambda: mails(stack, reviews[0].author.email), LEASE_OVER)
        kill_workers()

        list(pool.map(lambda review: review.has_done_everything_once(stack), reviews))


# -- Redis --------------------------------------------------------------------------------------


def test_an_emptied_redis_loses_nothing(stack: Stack) -> None:
    def forget_everything() -> None:
        stack.flush_redis("communication")
        stack.flush_redis("workflow")

    with ThreadPoolExecutor() as pool:
        reviews = list(pool.map(lambda _: started(stack), range(4)))
        forget_everything()
        list(pool.map(Review.is_approved, reviews))
        forget_everything()

        list(pool.map(lambda review: review.has_done_everything_once(stack), reviews))


# -- identity -----------------------------------------------------------------------------------


@dataclass
class Seen:
    """One answer of a service. Times are in seconds."""

    at: float
    took: float
    status: int
    retry_after: str | None


def watch(person: Person, service: str, seen: list[Seen], enough: Event) -> None:
    """Notes everything a person gets from a service until it is enough."""
    while not enough.wait(0.05):
        at = time.monotonic()
        response = asks(person, service)
        took, retry_after = time.monotonic() - at, response.headers.get("Retry-After")
        seen.append(Seen(at, took, response.status_code, retry_after))


@pytest.mark.parametrize("away", [stopped, frozen])
def test_without_identity_known_tokens_go_on_for_a_while_and_then_it_is_503(
    stack: Stack, away: Away
) -> None:
    unknown, known, enough = register(stack), register(stack), Event()
    seen: dict[str, list[Seen]] = {"content": [], "communication": [], "workflow": []}

    with ThreadPoolExecutor() as pool:
        watching = [pool.submit(watch, known, name, seen[name], enough) for name in seen]
        eventually(lambda: is_known_by_heart(known))
        still_there = time.monotonic()
        with without_identity(stack, away):
            gone = time.monotonic()
            of_unknown = list(pool.map(lambda service: asks(unknown, service), seen))
            time.sleep(max(0, gone + STALENESS + 1 - time.monotonic()))
            of_known = list(pool.map(lambda service: asks(known, service), seen))
        eventually(lambda: all(answers[-1].status == 200 for answers in seen.values()), seconds=3)
        enough.set()
        wait(watching)

    assert {response.status_code for response in of_known + of_unknown} == {503}
    for answers in seen.values():
        assert {answer.status for answer in answers} == {200, 503}
        assert all(answer.retry_after for answer in answers if answer.status == 503)
        assert max(answer.took for answer in answers) < LONGEST_ANSWER
        assert statuses(answers, still_there, STALENESS - LONGEST_POLL - 1) == {200}


def is_known_by_heart(person: Person) -> bool:
    """Whether requests of the person are served without a call to identity."""
    before = validations(person.stack)
    answers = [asks(person, service) for service in PROTECTED for _ in range(3)]
    return all(a.is_success for a in answers) and validations(person.stack) == before


def validations(stack: Stack) -> float:
    metrics = httpx.get(f"{stack.url('identity-service')}/metrics", verify=NO_CERTIFICATES).text
    counts = re.findall(r'http_requests_total{.*/auth/validate".*} (.*)', metrics)
    return sum(map(float, counts))


def statuses(seen: list[Seen], since: float, seconds: float) -> set[int]:
    return {answer.status for answer in seen if since < answer.at < since + seconds}


def test_a_run_waits_for_identity_and_then_goes_on(stack: Stack) -> None:
    review = prepared(stack)
    with ExitStack() as until_back:
        with frozen(stack, "content-service"):
            review.starts()
            until_back.enter_context(without_identity(stack))
        eventually(lambda: asks(review.author, "content").status_code == 503)

    review.is_approved()
    review.has_done_everything_once(stack)
