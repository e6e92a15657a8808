"""Webhooks, over real HTTP to a sink that fails as it is told: signatures, retries, health."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

import pytest
from sqlalchemy import event, update
from standardwebhooks import Webhook, WebhookVerificationError

from communication_service.database import engine, session_maker
from communication_service.models import Delivery, Notification, WebhookEndpoint, now

from .conftest import Caller
from .test_delivery import outcomes, pause_before_next, until_over
from .test_processes import wait_for

Deliver = Callable[..., None]

DROPPED = 0  # in place of a status: the connection ends without an answer
AT_ONCE = {"delivery_first_delay_seconds": 0.001}
TOUCHY = {"webhook_pause_after_failures": 3, "webhook_pause_after_seconds": 0}


class Sink:
    """An HTTP server that keeps what it is sent. `answers` are the next ones, then it is 200."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.always: tuple[int, dict[str, str]] = (200, {})
        self.said = b"Hello"
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                sink.received.append(({k.lower(): v for k, v in self.headers.items()}, content))
                status, headers = sink.answer(self.headers.get("webhook-id", ""))
                if status == DROPPED:
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(sink.said))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(sink.said)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def answer(self, webhook_id: str) -> tuple[int, dict[str, str]]:
        return self.answers.pop(0) if self.answers else self.always

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.received]


AnySink = TypeVar("AnySink", bound=Sink)


@contextmanager
def running_sink(kind: type[AnySink]) -> Iterator[AnySink]:
    sink = kind()
    thread = threading.Thread(target=sink.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield sink
    finally:
        sink.server.shutdown()
        thread.join()
        sink.server.server_close()


@pytest.fixture
def sink() -> Iterator[Sink]:
    with running_sink(Sink) as sink:
        yield sink


@pytest.fixture
def endpoint(recipient: Caller, sink: Sink) -> dict[str, Any]:
    response = recipient.post("/webhook-endpoints", json={"url": sink.url})
    assert response.status_code == 201, response.text
    return dict(response.json())


def read(recipient: Caller, endpoint: dict[str, Any]) -> dict[str, Any]:
    return dict(recipient.get(f"/webhook-endpoints/{endpoint['id']}").json())


def hook(sender: Caller, recipient: Caller, **fields: Any) -> dict[str, Any]:
    return sender.notify(recipient, channels=["webhook"], **fields)


def test_a_webhook_is_signed_and_says_what_the_notification_says(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    accepted = hook(sender, recipient, subject="Grüße", category="news")

    deliver()

    ((headers, content),) = sink.received
    said = Webhook(endpoint["secret"]).verify(content, headers)
    assert said["type"] == "notification.news"
    assert said["data"]["id"] == accepted["id"]
    assert (said["data"]["subject"], said["data"]["body"]) == ("Grüße", "News.")
    assert headers["webhook-id"] == accepted["deliveries"][0]["id"]
    (attempt,) = sender.attempts(accepted)
    assert (attempt["outcome"], attempt["response"]) == ("delivered", "200 Hello")
    with pytest.raises(WebhookVerificationError):
        Webhook(endpoint["secret"]).verify(content + b" ", headers)


def test_mail_inbox_and_webhook_are_one_notification(
    sender: Caller,
    recipient: Caller,
    endpoint: dict[str, Any],
    sink: Sink,
    deliver: Deliver,
    mail_server: Any,
) -> None:
    accepted = sender.notify(recipient, channels=["email", "in_app", "webhook"])

    deliver()

    assert sender.status(accepted) == "delivered"
    assert len(sink.received) == len(mail_server.mails_to(recipient)) == len(recipient.inbox()) == 1


def test_each_endpoint_gets_what_it_is_for(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    more = {"url": f"{sink.url}/news", "categories": ["news"]}
    recipient.post("/webhook-endpoints", json=more).raise_for_status()

    both, one = hook(sender, recipient, category="news"), hook(sender, recipient)
    deliver()

    assert len(both["deliveries"]) == 2
    assert len(one["deliveries"]) == 1
    assert len(set(sink.ids)) == len(sink.ids) == 3


def test_without_an_endpoint_the_delivery_is_suppressed_and_says_why(
    sender: Caller, recipient: Caller
) -> None:
    accepted = hook(sender, recipient)

    (delivery,) = accepted["deliveries"]
    assert (accepted["status"], delivery["status"]) == ("suppressed", "suppressed")
    assert "no webhook endpoint" in delivery["reason"]


def test_while_a_secret_is_replaced_both_verify_and_then_only_the_new_one(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    path = f"/webhook-endpoints/{endpoint['id']}/rotate-secret"
    rotated = recipient.post(path, json={"keep_old_seconds": 60}).json()
    assert rotated["secret"] != endpoint["secret"]
    hook(sender, recipient)
    deliver()
    ((headers, content),) = sink.received
    for secret in (endpoint["secret"], rotated["secret"]):
        Webhook(secret).verify(content, headers)

    with session_maker.begin() as session:
        session.execute(
            update(WebhookEndpoint)
            .where(WebhookEndpoint.owner_id == recipient.user_id)
            .values(old_secret_until=now())
        )
    hook(sender, recipient)
    deliver()

    headers, content = sink.received[-1]
    Webhook(rotated["secret"]).verify(content, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(endpoint["secret"]).verify(content, headers)


def test_only_the_answers_that_make_a_secret_show_it(
    recipient: Caller, endpoint: dict[str, Any]
) -> None:
    assert "secret" not in read(recipient, endpoint)
    assert "secret" not in recipient.get("/webhook-endpoints").json()["items"][0]


def test_a_failure_is_tried_again_with_the_same_id(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    sink.answers = [(500, {}), (503, {}), (429, {})]
    accepted = hook(sender, recipient)

    until_over(sender, accepted, lambda: deliver(**AT_ONCE))

    assert outcomes(sender, accepted) == ["failed"] * 3 + ["delivered"]
    assert len(sink.ids) == 4
    assert len(set(sink.ids)) == 1
    answers = [attempt["error"] or attempt["response"] for attempt in sender.attempts(accepted)]
    assert answers == ["500 Hello", "503 Hello", "429 Hello", "200 Hello"]
    times = [(each["started_at"], each["finished_at"]) for each in sender.attempts(accepted)]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(DROPPED, "unknown"), (502, "unknown"), (504, "unknown"), (500, "failed"), (429, "failed")],
)
def test_what_got_no_answer_of_the_endpoints_own_may_have_arrived(
    status: int,
    outcome: str,
    sender: Caller,
    recipient: Caller,
    endpoint: dict[str, Any],
    sink: Sink,
    deliver: Deliver,
) -> None:
    sink.answers = [(status, {})]
    accepted = hook(sender, recipient)
    deliver(delivery_first_delay_seconds=100)

    cancelled = sender.post(f"/notifications/{accepted['id']}/cancel")

    assert outcomes(sender, accepted) == [outcome]
    assert cancelled.status_code == (409 if outcome == "unknown" else 200)


def test_an_endpoint_that_cannot_be_reached_has_nothing(
    sender: Caller, recipient: Caller, deliver: Deliver
) -> None:
    new = {"url": "http://127.0.0.1:1/"}
    recipient.post("/webhook-endpoints", json=new).raise_for_status()
    accepted = hook(sender, recipient)
    deliver(delivery_first_delay_seconds=100)

    cancelled = sender.post(f"/notifications/{accepted['id']}/cancel")

    assert outcomes(sender, accepted) == ["failed"]
    assert cancelled.json()["status"] == "cancelled"


def test_the_endpoint_says_when_to_come_back(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    sink.answers = [(503, {"Retry-After": "120"})]
    accepted = hook(sender, recipient)

    deliver(**AT_ONCE)

    assert 110 < pause_before_next(accepted["id"]) <= 120


@pytest.mark.parametrize("status", [400, 401, 404, 301, 302, 307])
def test_a_refusal_or_redirect_ends_dead_at_once(
    status: int,
    sender: Caller,
    recipient: Caller,
    endpoint: dict[str, Any],
    sink: Sink,
    deliver: Deliver,
) -> None:
    sink.answers = [(status, {"Location": sink.url})]
    accepted = hook(sender, recipient)

    deliver(**AT_ONCE)

    assert sender.status(accepted) == "dead"
    assert len(sink.received) == 1


def test_an_endpoint_that_is_gone_is_disabled_and_its_owner_told(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    sink.answers = [(410, {})]
    gone = hook(sender, recipient)

    deliver(**AT_ONCE)

    assert sender.status(gone) == "dead"
    now = read(recipient, endpoint)
    assert (now["status"], now["reason"]) == ("disabled", "It answered 410 Gone")
    assert hook(sender, recipient)["status"] == "suppressed"
    deliver()
    assert [item["category"] for item in recipient.inbox()] == ["webhooks"]
    recipient.patch(f"/webhook-endpoints/{endpoint['id']}", json={"status": "enabled"})
    again = hook(sender, recipient)
    deliver()
    assert sender.status(again) == "delivered"


def test_what_waits_for_an_endpoint_that_is_disabled_is_suppressed(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    accepted = hook(sender, recipient)
    recipient.patch(f"/webhook-endpoints/{endpoint['id']}", json={"status": "disabled"})

    deliver()

    assert sender.status(accepted) == "suppressed"
    (delivery,) = sender.get(f"/notifications/{accepted['id']}").json()["deliveries"]
    assert "Its owner disabled it" in delivery["reason"]
    assert sink.received == []


def test_an_endpoint_that_fails_now_and_then_stays_enabled(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    for _ in range(3):
        sink.answers = [(500, {}), (500, {})]
        until_over(sender, hook(sender, recipient), lambda: deliver(**AT_ONCE, **TOUCHY))

    assert read(recipient, endpoint)["status"] == "enabled"
    assert read(recipient, endpoint)["failures"] == 0


def test_an_endpoint_that_keeps_failing_is_left_alone_but_for_one_probe(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    sink.always = (500, {})
    accepted = [hook(sender, recipient) for _ in range(4)]
    deliver(delivery_first_delay_seconds=0.05, **TOUCHY)
    now = read(recipient, endpoint)
    assert (now["status"], now["reason"]) == ("paused", "It has failed 4 times")
    deliver(webhook_probe_seconds=0.2, **TOUCHY)
    assert [item["subject"] for item in recipient.inbox()] == [
        "A webhook endpoint of yours keeps failing"
    ]

    seen = len(sink.received)
    time.sleep(0.1)
    deliver(webhook_probe_seconds=0.2, **TOUCHY)  # too early for a probe
    assert len(sink.received) == seen
    probe_now(recipient)
    due_now(recipient)
    deliver(delivery_first_delay_seconds=0.05, **TOUCHY)
    assert len(sink.received) == seen + 1

    sink.always = (200, {})
    probe_now(recipient)
    due_now(recipient)
    for notification in accepted:
        until_over(sender, notification, lambda: deliver(**AT_ONCE, **TOUCHY))
    assert [sender.status(notification) for notification in accepted] == ["delivered"] * 4
    assert read(recipient, endpoint)["status"] == "enabled"


def test_what_waits_for_a_paused_endpoint_asks_once_and_comes_back_spread_after_the_next_probe(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    sink.always = (500, {})
    accepted = [hook(sender, recipient) for _ in range(4)]
    deliver(delivery_first_delay_seconds=0.01, **TOUCHY)
    due_now(recipient)

    with counted("UPDATE communication_endpoints SET probe_at") as questions:
        deliver(delivery_first_delay_seconds=100, webhook_probe_seconds=60, **TOUCHY)

    assert len(questions) == 1
    pauses = {pause_before_next(each["id"]) for each in accepted}
    assert len(pauses) == 4
    assert all(55 < pause <= 75 for pause in pauses)


def test_an_endpoint_that_has_not_failed_for_long_enough_stays_enabled(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    touchy = {"webhook_pause_after_failures": 1, "webhook_pause_after_seconds": 30}
    sink.always = (500, {})
    hook(sender, recipient)
    deliver(**touchy)
    assert read(recipient, endpoint)["status"] == "enabled"

    with session_maker.begin() as session:
        mine = update(WebhookEndpoint).where(WebhookEndpoint.owner_id == recipient.user_id)
        session.execute(mine.values(failing_since=now() - timedelta(seconds=31)))
    due_now(recipient)
    deliver(**touchy)

    assert read(recipient, endpoint)["status"] == "paused"


@contextmanager
def counted(beginning: str) -> Iterator[list[str]]:
    """The statements that begin so."""
    found: list[str] = []

    def note(*arguments: Any) -> None:
        statement = str(arguments[2])
        if statement.startswith(beginning):
            found.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


def probe_now(recipient: Caller) -> None:
    with session_maker.begin() as session:
        mine = update(WebhookEndpoint).where(WebhookEndpoint.owner_id == recipient.user_id)
        session.execute(mine.values(probe_at=now()))


def due_now(recipient: Caller) -> None:
    with session_maker.begin() as session:
        session.execute(
            update(Delivery)
            .where(
                Delivery.notification_id == Notification.id,
                Notification.recipient_id == recipient.user_id,
                Delivery.status == "pending",
            )
            .values(run_at=now())
        )


def test_a_deleted_endpoint_gets_nothing_any_more(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    accepted = hook(sender, recipient)
    assert recipient.delete(f"/webhook-endpoints/{endpoint['id']}").status_code == 204

    deliver()

    assert sender.status(accepted) == "suppressed"
    assert sink.received == []


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/", "http://169.254.169.254/latest/meta-data", "http://[::1]/",
        "http://[::ffff:10.0.0.1]/", "http://localhost:8003/", "http://0x7f000002/",
        "ftp://example.com/", "nonsense", "http://user:secret@example.com/",
    ],
)  # fmt: skip
def test_an_endpoint_inside_is_refused_by_name(url: str, recipient: Caller) -> None:
    made = recipient.post("/webhook-endpoints", json={"url": url})

    assert made.status_code == 422
    assert made.json()["errors"][0]["field"] == "url"


def test_an_endpoint_cannot_be_moved_inside(recipient: Caller, endpoint: dict[str, Any]) -> None:
    path = f"/webhook-endpoints/{endpoint['id']}"

    assert recipient.patch(path, json={"url": "http://10.0.0.1/"}).status_code == 422
    assert read(recipient, endpoint)["url"] == endpoint["url"]


def test_an_endpoint_whose_name_came_to_lead_inside_is_refused_when_it_is_called(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    inside = sink.url.replace("127.0.0.1", "localhost")  # only the number is allowed in tests
    with session_maker.begin() as session:
        session.execute(
            update(WebhookEndpoint)
            .where(WebhookEndpoint.owner_id == recipient.user_id)
            .values(url=inside)
        )
    accepted = hook(sender, recipient)

    deliver()

    assert sender.status(accepted) == "dead"
    assert "not public" in sender.attempts(accepted)[0]["error"]
    assert sink.received == []


def test_a_person_has_a_limited_number_of_endpoints(recipient: Caller, sink: Sink) -> None:
    made = [recipient.post("/webhook-endpoints", json={"url": sink.url}) for _ in range(11)]

    assert [response.status_code for response in made] == [201] * 10 + [409]
    assert made[-1].json()["code"] == "TooManyEndpoints"


def test_of_many_endpoints_made_at_the_same_time_ten_are_kept(
    recipient: Caller, sink: Sink
) -> None:
    with ThreadPoolExecutor(8) as pool:
        new = {"url": sink.url}
        posts = [pool.submit(recipient.post, "/webhook-endpoints", json=new) for _ in range(16)]
        statuses = Counter(post.result().status_code for post in posts)

    assert statuses == {201: 10, 409: 6}
    too_many = recipient.post("/webhook-endpoints", json={"url": "http://10.0.0.1/"})
    assert too_many.status_code == 409  # before its name is looked up


class Hanging(Sink):
    """Has many requests before it has answered one."""

    def __init__(self) -> None:
        super().__init__()
        self.awake = threading.Event()

    def answer(self, webhook_id: str) -> tuple[int, dict[str, str]]:
        self.awake.wait(10)
        return super().answer(webhook_id)


def test_an_endpoint_that_hangs_holds_up_no_other(
    sender: Caller, login: Callable[..., Caller], sink: Sink, deliver: Deliver
) -> None:
    slow, quick = login(), login()
    with running_sink(Hanging) as hanging, ThreadPoolExecutor(1) as worker:
        slow.post("/webhook-endpoints", json={"url": hanging.url}).raise_for_status()
        quick.post("/webhook-endpoints", json={"url": sink.url}).raise_for_status()
        waiting = [hook(sender, slow) for _ in range(25)]
        accepted = hook(sender, quick)

        work = worker.submit(deliver, delivery_batch_seconds=1, webhook_pause_after_failures=99)
        wait_for(lambda: bool(sink.received), seconds=10)
        before_it = len(hanging.received)
        hanging.awake.set()
        work.result()

        assert before_it <= 5
        assert sender.status(accepted) == "delivered"
        for notification in waiting:
            until_over(sender, notification, deliver)
    assert {sender.status(notification) for notification in waiting} == {"delivered"}
