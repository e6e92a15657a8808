"""What users do with their webhook endpoints: limits, secrets, forbidden URLs."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from .conftest import Caller
from .deliveries import read_endpoint, send_webhook
from .webhook_sink import Sink

Deliver = Callable[..., None]


def test_only_the_answers_that_make_a_secret_show_it(
    recipient: Caller, endpoint: dict[str, Any]
) -> None:
    assert "secret" not in read_endpoint(recipient, endpoint)
    assert "secret" not in recipient.get("/webhook-endpoints").json()["items"][0]


def test_a_deleted_endpoint_gets_nothing_any_more(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    accepted = send_webhook(sender, recipient)
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
    assert read_endpoint(recipient, endpoint)["url"] == endpoint["url"]


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
    assert too_many.status_code == 409  # refused before the URL is checked
