"""Templates in several languages: which one a recipient gets, and that a preview shows it."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from communication_service.templates.translations import find_closest_language
from tools.localdev.fake_identity import FakeIdentity

from .conftest import Caller, MailServer

Deliver = Callable[..., None]

IN_GERMAN = {"subject": "Für {{ name }}", "body": "Hallo {{ name }}", "html": "<p>{{ name }}!</p>"}
IN_AUSTRIAN = {"subject": "Für {{ name }}", "body": "Servus {{ name }}"}
TRANSLATIONS = {"de": IN_GERMAN, "de-AT": IN_AUSTRIAN}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("de-AT", "de-AT"),
        ("de_at", "de-AT"),
        ("de-AT-1996", "de-AT"),
        ("de-CH", "de"),
        ("DE", "de"),
        ("d", None),
        ("en-GB", None),
        ("", None),
        (None, None),
    ],
)
def test_a_language_is_the_closest_that_there_is(wanted: str | None, found: str | None) -> None:
    assert find_closest_language(TRANSLATIONS, wanted) == found


@pytest.mark.parametrize(
    ("locale", "body"),
    [("de-AT", "Servus Rita"), ("de-CH", "Hallo Rita"), ("en", "Hello Rita"), (None, "Hello Rita")],
)
def test_a_recipient_gets_their_own_language_in_every_channel_as_previewed(
    editor: Caller, recipient: Caller, deliver: Deliver, identity: FakeIdentity,
    mail_server: MailServer, locale: str | None, body: str,
) -> None:  # fmt: skip
    template = editor.template(body="Hello {{ name }}", translations=TRANSLATIONS)
    identity.contacts[recipient.user_id]["locale"] = locale
    given = {"variables": {"name": "Rita"}} | ({"locale": locale} if locale else {})
    preview = editor.post(f"/templates/{template['id']}/render", json=given).json()

    send(editor, recipient, template)
    deliver()

    (mail,) = mail_server.mails_to(recipient)
    (item,) = recipient.inbox()
    text = mail.get_body(("plain",))
    assert text is not None
    assert text.get_content().strip() == body == preview["body"]
    assert mail["Subject"] == preview["subject"] == item["subject"]
    assert item["body"] == body
    assert (mail.get_body(("html",)) is not None) == (preview["html"] is not None)


def test_the_language_is_that_of_the_moment_of_sending(
    editor: Caller, recipient: Caller, deliver: Deliver, identity: FakeIdentity
) -> None:
    template = editor.template(translations=TRANSLATIONS)
    send(editor, recipient, template, channels=["in_app"])
    editor.put(f"/templates/{template['id']}", json={"subject": "New", "body": "New"})
    editor.delete(f"/templates/{template['id']}")
    identity.contacts[recipient.user_id]["locale"] = "de"

    deliver()

    assert recipient.inbox()[0]["body"] == "Hallo Rita"


def test_identity_that_is_down_delays_and_does_not_choose_the_wrong_language(
    editor: Caller, recipient: Caller, deliver: Deliver, identity: FakeIdentity
) -> None:
    identity.contacts[recipient.user_id]["locale"] = "de"
    accepted = send(editor, recipient, editor.template(translations=TRANSLATIONS))
    identity.is_down = True
    try:
        deliver(delivery_first_delay_seconds=0.1, delivery_max_delay_seconds=0.1)
    finally:
        identity.is_down = False
    assert editor.status(accepted) == "pending"

    while editor.status(accepted) == "pending":
        deliver()

    assert recipient.inbox()[0]["body"] == "Hallo Rita"


def test_a_preview_is_what_is_sent_byte_for_byte(
    editor: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    dice = random.Random(5)
    tokens = [
        "\r\n",
        "\r",
        "\n",
        " ",
        "\t",
        ".",
        "..",
        "=",
        "=20",
        "From ",
        "é",
        "🙂",
        "\x0b",
        "\x1c",
    ]
    tokens += [
        "\x85",
        "\u2028",
        "x" * 200,
        "<b>",
        "&amp;",
        "\ufeff",
        "\x08",
        "{{ x }}",
        "--",
        "\u00ad",
    ]
    template = editor.template(subject="Hi", body="{{ name }}|", html="<p>{{ name }}</p>|")
    for _ in range(40):
        variables = {"name": "".join(dice.choices(tokens, k=12))}
        path = f"/templates/{template['id']}/render"
        preview = editor.post(path, json={"variables": variables}).json()

        send(editor, recipient, template, channels=["email"], variables=variables)
        deliver()

        text, html = (
            part.get_payload(decode=True) for part in mail_server.received[-1].iter_parts()
        )
        assert on_the_wire(preview["body"]) == text
        assert on_the_wire(preview["html"]) == html


def on_the_wire(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


@pytest.mark.parametrize(
    ("translations", "field"),
    [
        ({"de": {"subject": "Hi", "body": "{{ name "}}, "translations.de.body"),
        ({"de": {"subject": "Hi"}}, "translations.de.body"),
        ({"German!": IN_GERMAN}, "translations.German!.[key]"),
        ({"de": IN_GERMAN, "DE": IN_GERMAN}, "translations"),
        ({f"x{one}{two}": IN_GERMAN for one in "abcde" for two in "abcde"}, "translations"),
    ],
)
def test_a_broken_translation_is_refused_by_name(
    editor: Caller, translations: dict[str, Any], field: str
) -> None:
    new = {"name": "broken", "subject": "Hi", "body": "Hi", "translations": translations}

    response = editor.post("/templates", json=new)

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == field


def send(
    sender: Caller, recipient: Caller, template: dict[str, Any], **more: Any
) -> dict[str, Any]:
    given = {"variables": {"name": "Rita"}, "subject": None, "body": None, **more}
    return sender.notify(recipient, template=template["name"], **given)
