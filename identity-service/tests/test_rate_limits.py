"""Rate limits: guessing costs growing waits, which reveal nothing, with Redis and without."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from statistics import median
from time import perf_counter
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient

from chassis.redis_client import RedisClient
from identity_service.main import app
from identity_service.rate_limits import RateLimiter, get_network
from identity_service.settings import settings

from .conftest import PASSWORD, Person, bearer, run_service
from .test_login import log_in_with

WRONG = "not the password"


def guess(client: TestClient, email: str, times: int = 5) -> list[int]:
    return [log_in_with(client, email, WRONG).status_code for _ in range(times)]


def assert_says_how_long_to_wait(answer: Any, reason: str = "Too many failed attempts") -> None:
    seconds = int(answer.headers["Retry-After"])
    assert answer.status_code == 429
    assert answer.json()["detail"] == f"{reason}; try again in {seconds} second{'s'[: seconds - 1]}"


@pytest.fixture
def expire_windows(client: TestClient) -> Callable[[str], None]:
    """Expire the windows of a limit."""

    async def expire(window: str) -> None:
        redis = app.state.redis.client
        async for key in redis.scan_iter("identity:attempts:*"):
            if key.endswith(window):
                await redis.delete(key)

    def end(window: str) -> None:
        assert client.portal is not None
        client.portal.call(expire, window)

    return end


def test_after_five_wrong_passwords_the_right_one_has_to_wait_too(
    client: TestClient, person: Person
) -> None:
    assert guess(client, person.email, 5) == [401] * 5

    blocked = [log_in_with(client, person.email, word) for word in (WRONG, PASSWORD)]

    for answer in blocked:
        assert_says_how_long_to_wait(answer)
        assert 1 <= int(answer.headers["Retry-After"]) <= 60


def test_a_block_does_not_affect_logins_from_other_networks(
    person: Person, from_network: Callable[[str], TestClient]
) -> None:
    assert guess(from_network("192.0.2.7"), person.email, 6)[-1] == 429

    assert log_in_with(from_network("198.51.100.7"), person.email, PASSWORD).status_code == 200


def test_the_wait_ends_and_the_next_one_is_longer(
    client: TestClient, person: Person, expire_windows: Callable[[str], None]
) -> None:
    assert guess(client, person.email, 6) == [401] * 5 + [429]
    expire_windows("/5/1/minute")
    assert guess(client, person.email, 6) == [401] * 5 + [429]
    expire_windows("/5/1/minute")

    longer = log_in_with(client, person.email, WRONG)

    assert longer.status_code == 429
    assert 60 < int(longer.headers["Retry-After"]) <= 600
    expire_windows("/10/10/minute")
    expire_windows("/5/1/minute")
    assert log_in_with(client, person.email, PASSWORD).status_code == 200


def test_the_right_password_resets_the_count(client: TestClient, person: Person) -> None:
    for _ in range(3):
        assert guess(client, person.email, 4) == [401] * 4
        assert log_in_with(client, person.email, PASSWORD).status_code == 200


def test_an_unknown_address_is_blocked_in_the_same_way(client: TestClient) -> None:
    unknown = f"{uuid4()}@example.com"

    assert guess(client, unknown, 5) == [401] * 5
    assert_says_how_long_to_wait(log_in_with(client, unknown, WRONG))


def test_parallel_guesses_count_like_guesses_in_a_row(client: TestClient, person: Person) -> None:
    with ThreadPoolExecutor(20) as threads:
        statuses = list(threads.map(lambda _: guess(client, person.email, 1)[0], range(20)))

    assert sorted(statuses) == [401] * 5 + [429] * 15


def test_the_time_of_a_login_does_not_reveal_whether_an_address_is_known(
    client: TestClient, person: Person, from_network: Callable[[str], TestClient]
) -> None:
    guess(client, person.email)
    networks = (f"203.0.113.{number}" for number in range(100))

    def measure_seconds(client: TestClient, email: str) -> float:
        started = perf_counter()
        log_in_with(client, email, WRONG)
        return perf_counter() - started

    rounds: list[tuple[float, float, float]] = []

    def measure_difference() -> float:
        """Compare the medians of all logins of each kind so far, which take turns."""
        rounds.extend(
            (
                measure_seconds(from_network(network), person.email),
                measure_seconds(from_network(network), f"{uuid4()}@example.com"),
                measure_seconds(client, person.email),
            )
            for network in islice(networks, 20)
        )
        medians = [median(times) for times in zip(*rounds, strict=True)]
        return float(max(medians) - min(medians))

    # Other load of the machine evens out over more logins; a revealing difference would not.
    assert any(measure_difference() < 0.010 for _ in range(5))


@pytest.fixture
def exhaust_limit(client: TestClient) -> Callable[..., None]:
    """Use up the limit of a network."""

    async def count(*network: str) -> None:
        for _ in range(300):
            await app.state.rate_limiter.count_for_network(*network)

    def exhaust(*network: str) -> None:
        assert client.portal is not None
        client.portal.call(count, *network)

    return exhaust


def test_a_network_that_guesses_for_many_users_has_to_wait(
    person: Person, from_network: Callable[[str], TestClient], exhaust_limit: Callable[..., None]
) -> None:
    exhaust_limit("192.0.2.99/32")

    answer = log_in_with(from_network("192.0.2.99"), person.email, PASSWORD)

    assert_says_how_long_to_wait(answer)
    assert log_in_with(from_network("192.0.2.98"), person.email, PASSWORD).status_code == 200


@pytest.mark.parametrize("path", ["forgot-password", "resend-verification"])
def test_the_number_of_emails_a_network_can_request_is_limited(
    person: Person,
    exhaust_limit: Callable[..., None],
    from_network: Callable[[str], TestClient],
    sql: Callable[..., list[Any]],
    path: str,
) -> None:
    exhaust_limit("mail", "192.0.2.97/32")

    def send_request(ip: str) -> Any:
        return from_network(ip).post(f"/auth/{path}", json={"email": person.email})

    refused = send_request("192.0.2.97")

    assert send_request("192.0.2.96").status_code == 202
    assert_says_how_long_to_wait(refused, "Too many emails were requested")
    assert 1 <= int(refused.headers["Retry-After"]) <= 600
    asked = "SELECT 1 FROM audit_events WHERE action = 'email.requested' AND subject_id = :id"
    assert len(sql(asked, id=person.id)) == 1


def test_a_network_that_guesses_client_secrets_has_to_wait_but_its_services_do_not(
    exhaust_limit: Callable[..., None],
    from_network: Callable[[str], TestClient],
    sql: Callable[..., list[Any]],
) -> None:
    exhaust_limit("client", "192.0.2.95/32")
    there = from_network("192.0.2.95")

    def send_request(secret: str) -> Any:
        form = {"grant_type": "client_credentials", "client_id": "workflow-service"}
        return there.post("/auth/token", data={**form, "client_secret": secret})

    wrong = send_request("a guess")
    right = send_request("development-only-service-secret")

    assert (wrong.status_code, right.status_code) == (429, 200)
    assert_says_how_long_to_wait(wrong)
    assert sql("SELECT 1 FROM audit_events WHERE ip = '192.0.2.95'") == []


def test_a_blocked_login_is_in_the_audit_trail(
    client: TestClient, person: Person, sql: Callable[..., list[Any]]
) -> None:
    guess(client, person.email, 6)

    found = "SELECT subject_id FROM audit_events WHERE action = 'login.blocked'"
    assert sql(f"{found} AND details->>'email' = :e", e=person.email) == [(UUID(person.id),)]


def test_a_network_that_has_to_wait_is_in_the_audit_trail_once(
    person: Person,
    exhaust_limit: Callable[..., None],
    from_network: Callable[[str], TestClient],
    sql: Callable[..., list[Any]],
) -> None:
    exhaust_limit("192.0.2.94/32")

    for _ in range(3):
        log_in_with(from_network("192.0.2.94"), person.email, PASSWORD)

    found = sql("SELECT action FROM audit_events WHERE ip = '192.0.2.94'")
    assert found == [("login.network_blocked",)]


def test_the_current_password_cannot_be_guessed_with_a_stolen_token(person: Person) -> None:
    change = {"current_password": WRONG, "new_password": "another long password"}

    answers = [person.request("POST", "/auth/change-password", json=change) for _ in range(6)]

    assert [answer.status_code for answer in answers[:5]] == [403] * 5
    assert_says_how_long_to_wait(answers[5])


@pytest.fixture
def without_redis(client: TestClient) -> Iterator[None]:
    """Count attempts in a Redis that cannot be reached."""
    nowhere = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    before = app.state.rate_limiter
    app.state.rate_limiter = RateLimiter(RedisClient(nowhere))
    yield
    app.state.rate_limiter = before


def test_without_redis_users_can_log_in_and_guessing_stays_slow(
    client: TestClient, person: Person, other: Person, without_redis: None
) -> None:
    assert log_in_with(client, other.email, PASSWORD).status_code == 200
    assert guess(client, person.email, 6) == [401] * 5 + [429]
    assert log_in_with(client, other.email, PASSWORD).status_code == 200


def test_a_redis_that_hangs_delays_a_login_only_briefly() -> None:
    async def count_attempt(url: str) -> float:
        redis = RedisClient(settings.model_copy(update={"redis_url": url}))
        wait = await RateLimiter(redis).count_attempt("somebody")
        await redis.aclose()
        return wait

    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = perf_counter()

        wait = asyncio.run(count_attempt(f"redis://127.0.0.1:{silent.getsockname()[1]}/0"))

    assert wait == 0
    assert perf_counter() - started < 5


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("testclient", "testclient"),
        (None, "unknown"),
    ],
)
def test_a_customer_with_many_addresses_is_one_network(ip: str | None, network: str) -> None:
    assert get_network(ip) == network


@pytest.mark.parametrize(
    ("proxies", "seen"), [("127.0.0.1", "203.0.113.9"), ("10.0.0.1", "127.0.0.1")]
)
def test_clients_cannot_choose_their_own_network(proxies: str, seen: str) -> None:
    """Only the address that the trusted proxy saw counts."""
    demo = {"email": "viewer@example.com", "password": "demo-password-1"}
    with run_service(FORWARDED_ALLOW_IPS=proxies) as client:
        client.headers["X-Forwarded-For"] = "198.51.100.1, 203.0.113.9"
        tokens = client.post("/auth/login", json=demo).json()
        sessions = client.get("/auth/sessions", headers=bearer(tokens["access_token"])).json()

    assert [one["ip"] for one in sessions["items"] if one["is_current"]] == [seen]
