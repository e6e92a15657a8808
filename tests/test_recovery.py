"""Tests that nothing is lost when processes die, Redis loses its data, or identity is down."""

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

from .document_reviews import (
    LEASE_TIMEOUT_SECONDS,
    Review,
    frozen,
    list_inbox,
    list_running_steps,
    prepare_review,
    start_new_review,
    stopped,
)
from .users import (
    PROTECTED_PATHS,
    WITHOUT_CERTIFICATES,
    Person,
    Stack,
    eventually,
    get_mails,
    register,
)

STALENESS_SECONDS = 5.0  # AUTH_MAX_STALENESS_SECONDS
POLL_SECONDS = 2.0  # between the last two answers of identity's change feed
MAX_ANSWER_SECONDS = 6.0  # any request may take this long while identity is away

Away = Callable[[Stack, str], AbstractContextManager[None]]


@contextmanager
def without_identity(stack: Stack, away: Away = stopped) -> Iterator[None]:
    """Take identity away; afterwards wait until all services work again."""
    with away(stack, "identity-service"):
        yield
    person = register(stack)
    for service in PROTECTED_PATHS:
        eventually(partial(is_served, person, service))


def is_served(person: Person, service: str) -> bool:
    return request_protected(person, service).is_success


def request_protected(person: Person, service: str) -> httpx.Response:
    return person.request("GET", service, PROTECTED_PATHS[service])


# -- kill -9 ------------------------------------------------------------------------------------


def test_a_worker_killed_in_the_middle_of_a_step_changes_nothing_but_the_time(
    stack: Stack,
) -> None:
    review = prepare_review(stack)
    with frozen(stack, "content-service"):
        review.start()
        eventually(lambda: list_running_steps(review))

        stack.kill("workflow-worker")

    review.approve()
    review.assert_done_once(stack)


def test_a_worker_killed_in_the_middle_of_a_delivery_delivers_once(stack: Stack) -> None:
    sender = register(stack)
    recipient = register(stack)
    message = {"recipient_id": recipient.user_id, "subject": "Once", "body": "Only once"}
    with frozen(stack, "mail"):
        sent = sender.post("communication", "/notifications", json=message)
        eventually(lambda: list_running_deliveries(sender, sent))

        stack.kill("communication-worker")

    found = eventually(lambda: get_mails(stack, recipient.email), LEASE_TIMEOUT_SECONDS)
    eventually(lambda: is_delivered(sender, sent), LEASE_TIMEOUT_SECONDS)
    assert len({mail["messageId"] for mail in found}) == 1
    assert len(get_mails(stack, recipient.email)) == 1
    assert len(list_inbox(recipient, "Only once")) == 1


def list_running_deliveries(sender: Person, sent: Any) -> list[Any]:
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
        reviews = list(pool.map(lambda _: start_new_review(stack), range(4)))
        kill_workers()
        eventually(lambda: get_mails(stack, reviews[0].reviewer.email), LEASE_TIMEOUT_SECONDS)
        kill_workers()
        list(pool.map(Review.approve, reviews))
        eventually(lambda: get_mails(stack, reviews[0].author.email), LEASE_TIMEOUT_SECONDS)
        kill_workers()

        list(pool.map(lambda review: review.assert_done_once(stack), reviews))


# -- Redis --------------------------------------------------------------------------------------


def test_an_emptied_redis_loses_nothing(stack: Stack) -> None:
    def forget_everything() -> None:
        stack.flush_redis("communication")
        stack.flush_redis("workflow")

    with ThreadPoolExecutor() as pool:
        reviews = list(pool.map(lambda _: start_new_review(stack), range(4)))
        forget_everything()
        list(pool.map(Review.approve, reviews))
        forget_everything()

        list(pool.map(lambda review: review.assert_done_once(stack), reviews))


# -- identity -----------------------------------------------------------------------------------


@dataclass
class Seen:
    """Holds one answer of a service; times are in seconds."""

    at: float
    took: float
    status: int
    retry_after: str | None


def record_answers(person: Person, service: str, seen: list[Seen], enough: Event) -> None:
    """Record every answer that a user gets from a service, until `enough` is set."""
    while not enough.wait(0.05):
        at = time.monotonic()
        response = request_protected(person, service)
        took = time.monotonic() - at
        retry_after = response.headers.get("Retry-After")
        seen.append(Seen(at, took, response.status_code, retry_after))


@pytest.mark.parametrize("away", [stopped, frozen])
def test_without_identity_known_tokens_go_on_for_a_while_and_then_it_is_503(
    stack: Stack, away: Away
) -> None:
    unknown = register(stack)
    known = register(stack)
    enough = Event()
    seen: dict[str, list[Seen]] = {"content": [], "communication": [], "workflow": []}

    with ThreadPoolExecutor() as pool:
        watching = [pool.submit(record_answers, known, name, seen[name], enough) for name in seen]
        eventually(lambda: is_cached(known))
        still_there = time.monotonic()
        with without_identity(stack, away):
            gone = time.monotonic()
            of_unknown = list(pool.map(lambda service: request_protected(unknown, service), seen))
            time.sleep(max(0, gone + STALENESS_SECONDS + 1 - time.monotonic()))
            of_known = list(pool.map(lambda service: request_protected(known, service), seen))
        eventually(lambda: all(answers[-1].status == 200 for answers in seen.values()), seconds=3)
        enough.set()
        wait(watching)

    assert {response.status_code for response in of_known + of_unknown} == {503}
    for answers in seen.values():
        assert {answer.status for answer in answers} == {200, 503}
        assert all(answer.retry_after for answer in answers if answer.status == 503)
        assert max(answer.took for answer in answers) < MAX_ANSWER_SECONDS
        assert get_statuses(answers, still_there, STALENESS_SECONDS - POLL_SECONDS - 1) == {200}


def is_cached(person: Person) -> bool:
    """Return whether the user's requests are served without a call to identity."""
    before = count_validations(person.stack)
    answers = [request_protected(person, service) for service in PROTECTED_PATHS for _ in range(3)]
    return all(a.is_success for a in answers) and count_validations(person.stack) == before


def count_validations(stack: Stack) -> float:
    metrics = httpx.get(
        f"{stack.get_url('identity-service')}/metrics", verify=WITHOUT_CERTIFICATES
    ).text
    counts = re.findall(r'http_requests_total{.*/auth/validate".*} (.*)', metrics)
    return sum(map(float, counts))


def get_statuses(seen: list[Seen], since: float, seconds: float) -> set[int]:
    return {answer.status for answer in seen if since < answer.at < since + seconds}


def test_a_run_waits_for_identity_and_then_goes_on(stack: Stack) -> None:
    review = prepare_review(stack)
    with ExitStack() as until_back:
        with frozen(stack, "content-service"):
            review.start()
            until_back.enter_context(without_identity(stack))
        eventually(lambda: request_protected(review.author, "content").status_code == 503)

    review.approve()
    review.assert_done_once(stack)
