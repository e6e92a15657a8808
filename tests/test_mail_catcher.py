"""Tests the mail catcher of the stack without Docker, by SMTP and HTTP."""

import json
import smtplib
import time
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tools.localdev.mail_catcher import PAGE, create_app
from tools.localdev.mailbox import Mailbox
from tools.localdev.servers import HOST, reserve_free_port

Send = Callable[..., None]
MANY = 5000


def build_message(subject: str, to: str = "b@example.com", html: str = "") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "a@example.com"
    message["To"] = to
    message["Subject"] = subject
    message.set_content(f"Hello, this is about {subject}")
    if html:
        message.add_alternative(html, subtype="html")
    return message


@pytest.fixture
def smtp_port() -> int:
    return reserve_free_port()


@pytest.fixture
def client(tmp_path: Path, smtp_port: int) -> Iterator[TestClient]:
    with TestClient(create_app(Mailbox(tmp_path), smtp_port)) as client:
        yield client


@pytest.fixture
def send(client: TestClient, smtp_port: int) -> Send:
    def send_message(*arguments: str, **more: str) -> None:
        with smtplib.SMTP(HOST, smtp_port) as smtp:
            smtp.send_message(build_message(*arguments, **more))

    return send_message


def get_subjects(client: TestClient, parameters: str = "") -> list[str]:
    return [mail["subject"] for mail in client.get(f"/email{parameters}").json()]


def test_a_mail_is_listed_with_its_text_and_read_with_its_html(
    client: TestClient, send: Send
) -> None:
    send("<b>Hi", html="<p>Hello")

    (listed,) = client.get("/email").json()
    whole = client.get(f"/email/{listed['id']}").json()

    assert (listed["subject"], listed["to"][0]["address"]) == ("<b>Hi", "b@example.com")
    assert listed["text"].startswith("Hello") and listed["html"] is None
    assert whole["html"].strip() == "<p>Hello"


def test_the_html_of_a_mail_runs_no_script_and_loads_nothing(
    client: TestClient, send: Send
) -> None:
    send("News", html="<script>alert(1)</script>")

    (listed,) = client.get("/email").json()
    response = client.get(f"/email/{listed['id']}/html")

    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy and "allow-scripts" not in policy


def test_the_page_sets_mail_as_text_and_allows_no_inline_script() -> None:
    code = (PAGE / "page.js").read_text()

    assert "content=\"default-src 'self'\"" in (PAGE / "index.html").read_text()
    assert not any(unsafe in code for unsafe in ("innerHTML", "outerHTML", "document.write"))


def test_mails_are_filtered_by_recipient_words_and_number(client: TestClient, send: Send) -> None:
    send("One", "ada@example.com")
    send("Two", "Ada Lovelace <ada@example.com>")
    send("Three", "bob@example.com")

    assert get_subjects(client, "?to=ada@example.com") == ["One", "Two"]
    assert get_subjects(client, "?q=about+THREE") == ["Three"]
    assert get_subjects(client, "?q=lovelace") == ["Two"]
    assert get_subjects(client, "?limit=2") == ["Two", "Three"]
    assert get_subjects(client, "?to=ada@example.com&limit=1") == ["Two"]
    assert client.get("/email?limit=many").status_code == 422


def test_one_mail_and_all_mails_can_be_deleted(client: TestClient, send: Send) -> None:
    for subject in ("One", "Two", "Three"):
        send(subject)
    first = client.get("/email").json()[0]["id"]

    assert client.delete(f"/email/{first}").status_code == 200
    assert client.get(f"/email/{first}").status_code == 404
    assert client.delete(f"/email/{first}").status_code == 404
    assert get_subjects(client) == ["Two", "Three"]
    assert client.delete("/email/all").status_code == 200
    assert get_subjects(client) == []


def test_an_unchanged_mailbox_is_not_sent_again(client: TestClient, send: Send) -> None:
    send("One")
    etag = client.get("/email").headers["etag"]

    assert client.get("/email", headers={"If-None-Match": etag}).status_code == 304
    send("Two")
    assert client.get("/email", headers={"If-None-Match": etag}).status_code == 200


def test_mails_keep_their_ids_over_a_restart(
    client: TestClient, send: Send, tmp_path: Path
) -> None:
    send("One", html="<p>Hello")
    before = client.get("/email").content

    assert Mailbox(tmp_path).list_messages() == before


def test_thousands_of_mails_are_listed_at_once(
    client: TestClient, send: Send, tmp_path: Path
) -> None:
    send("One", html="<p>Hello" * 1000)
    (stored,) = tmp_path.glob("*.json")
    for number in range(1, MANY):
        (tmp_path / f"{number}.json").write_bytes(stored.read_bytes())
    box = Mailbox(tmp_path)

    started = time.process_time()
    listed = box.list_messages()
    found = box.list_messages(query="about one", limit=100)

    taken = time.process_time() - started

    assert (len(json.loads(listed)), len(json.loads(found))) == (MANY, 100)
    assert taken < 0.05
