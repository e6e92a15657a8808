"""Templates: names, versions, built-in ones, and previews that equal what is sent."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from chassis.auth import User
from communication_service.database import engine, session_maker
from communication_service.schemas.templates import TemplateUpdate
from communication_service.templates.service import update_template

from .conftest import Caller, MailServer

PARTS = {"subject": "For {{ name }}", "body": "Dear {{ name }}", "html": "<p>{{ name }}</p>"}


def test_a_change_makes_a_new_version_and_leaves_the_old_one(editor: Caller) -> None:
    first = editor.template(**PARTS)
    path = f"/templates/{first['id']}"

    second = editor.put(path, json={"subject": "New", "body": "New {{ name }}"}).json()

    assert (first["version"], second["version"]) == (1, 2)
    assert second["html"] is None
    assert editor.get(path).json() == second
    assert editor.get(path, params={"version": 1}).json() == first
    assert editor.get(path, params={"version": 3}).status_code == 404


def test_a_list_shows_each_template_once_in_its_current_version(editor: Caller) -> None:
    template = editor.template()
    editor.put(f"/templates/{template['id']}", json={"subject": "New", "body": "New"})

    found = editor.get("/templates", params={"limit": 1}).json()

    assert [(item["id"], item["version"]) for item in found["items"]] == [(template["id"], 2)]
    after = {"limit": 100, "cursor": found["next_cursor"]}
    rest = editor.get("/templates", params=after).json()["items"]
    assert template["id"] not in [item["id"] for item in rest]


def test_the_database_itself_refuses_to_change_a_version(editor: Caller) -> None:
    template = editor.template()
    change = text("UPDATE communication_templates SET body = 'other' WHERE id = :id")

    with pytest.raises(DBAPIError, match="never changed"), engine.begin() as connection:
        connection.execute(change, {"id": template["id"]})


def test_names_are_unique(editor: Caller) -> None:
    template = editor.template()

    response = editor.post("/templates", json={**PARTS, "name": template["name"]})

    assert response.status_code == 409
    assert response.json()["code"] == "DuplicateTemplate"


def test_of_changes_at_the_same_moment_each_is_a_version_or_is_refused(editor: Caller) -> None:
    path = f"/templates/{editor.template()['id']}"

    def change(number: int) -> Any:
        return editor.put(path, json={"subject": f"{number}", "body": f"{number}"})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(change, range(8)))

    assert {answer.status_code for answer in answers} <= {200, 409}
    saved = [answer.json()["version"] for answer in answers if answer.status_code == 200]
    assert sorted(saved) == list(range(2, len(saved) + 2))


def test_the_same_key_creates_one_template(editor: Caller) -> None:
    new = {**PARTS, "name": f"t-{uuid4().hex}"}
    headers = {"Idempotency-Key": "create-once"}

    first = editor.post("/templates", json=new, headers=headers)
    second = editor.post("/templates", json=new, headers=headers)

    assert second.status_code == first.status_code == 201
    assert second.json() == first.json()
    assert second.headers["Idempotent-Replayed"] == "true"


def test_a_deleted_template_is_gone_and_its_name_is_free(editor: Caller) -> None:
    template = editor.template()
    path = f"/templates/{template['id']}"

    assert editor.delete(path).status_code == 204

    assert editor.get(path).status_code == 404
    assert editor.delete(path).status_code == 404
    assert editor.template(name=template["name"])["version"] == 1


def test_built_in_templates_stay(editor: Caller) -> None:
    found = editor.get("/templates", params={"limit": 100}).json()
    while not any(item["built_in"] for item in found["items"]):
        found = editor.get(
            "/templates", params={"limit": 100, "cursor": found["next_cursor"]}
        ).json()
    built_in = {item["name"]: item for item in found["items"] if item["built_in"]}
    assert built_in.keys() == {"review-requested", "review-decided"}

    response = editor.delete(f"/templates/{built_in['review-decided']['id']}")

    assert response.status_code == 409
    assert "review-decided is built in" in response.json()["detail"]


@pytest.mark.parametrize(
    ("template", "variables", "expected"),
    [
        (
            "review-requested",
            {"document_title": "Mills", "summary": "Short.", "task_id": "7", "author_name": None},
            'Someone asks you to review "Mills"',
        ),
        (
            "review-requested",
            {"document_title": "Mills", "summary": "Short.", "task_id": "7", "author_name": "Ada"},
            'Ada asks you to review "Mills"',
        ),
        (
            "review-decided",
            {"document_title": "Mills", "decision": "approved", "comment": ""},
            'The reviewer has decided on "Mills": approved.',
        ),
    ],
)
def test_built_in_templates_take_what_workflows_send(
    template: str, variables: dict[str, Any], expected: str, sender: Caller, recipient: Caller
) -> None:
    new = {"subject": None, "body": None, "template": template, "variables": variables}

    accepted = sender.notify(recipient, **new)

    assert expected in accepted["body"]
    assert accepted["template_version"] == 2  # the version that declares variables


def test_built_in_templates_take_nothing_else(sender: Caller, recipient: Caller) -> None:
    wrong = {"document_title": ["Mills"], "decision": "approved", "comment": "", "x": 1}
    new = {"recipient_id": recipient.user_id, "template": "review-decided", "variables": wrong}

    refused = sender.post("/notifications", json=new)

    assert refused.status_code == 422
    fields = {error["field"] for error in refused.json()["errors"]}
    assert fields == {"variables", "variables.document_title"}


def test_preview_and_render_show_what_is_sent(
    editor: Caller, recipient: Caller, deliver: Callable[..., None], mail_server: MailServer
) -> None:
    variables = {"name": "Ada & <b>Charles</b>\nBcc: everybody@example.com"}
    preview = editor.post("/templates/preview", json={**PARTS, "variables": variables}).json()
    template = editor.template(**PARTS)
    path = f"/templates/{template['id']}/render"
    rendered = editor.post(path, json={"variables": variables}).json()
    named = {"template": template["name"], "variables": variables}

    accepted = editor.notify(recipient, subject=None, body=None, **named)
    deliver()

    assert rendered == preview == {part: accepted[part] for part in PARTS} | {"locale": None}
    (mail,) = mail_server.mails_to(recipient)
    text_part, html_part = mail.iter_parts()
    assert mail["Subject"] == preview["subject"]
    assert mail["Bcc"] is None
    assert text_part.get_content().splitlines() == preview["body"].splitlines()
    assert html_part.get_content().splitlines() == preview["html"].splitlines()
    assert "<b>" not in preview["html"]


def test_an_accepted_notification_keeps_the_words_it_was_accepted_with(
    editor: Caller, recipient: Caller, deliver: Callable[..., None], mail_server: MailServer
) -> None:
    template = editor.template(body="Old words for {{ name }}")
    named = {"template": template["name"], "variables": {"name": "Rita"}}
    accepted = editor.notify(recipient, subject=None, body=None, **named)
    path = f"/templates/{template['id']}"
    editor.put(path, json={"subject": "New", "body": "New words"})
    editor.delete(path)

    deliver()

    (mail,) = mail_server.mails_to(recipient)
    assert mail.get_content().strip() == "Old words for Rita" == accepted["body"]


def test_a_missing_variable_is_named(editor: Caller, recipient: Caller) -> None:
    template = editor.template(body="Dear {{ customer.name }}")
    path = f"/templates/{template['id']}/render"
    new = {"recipient_id": recipient.user_id, "template": template["name"]}

    rendered = editor.post(path, json={"variables": {"customer": {}}})
    sent = editor.post("/notifications", json=new)

    for response, message in ((rendered, "no attribute 'name'"), (sent, "'customer' is undefined")):
        assert response.status_code == 422
        (error,) = response.json()["errors"]
        assert error["field"] == "variables"
        assert message in error["message"]


def test_a_template_that_is_changed_while_it_is_deleted_is_gone(editor: Caller) -> None:
    template, change = editor.template(), {"subject": "Hi", "body": "Hi again"}
    path = f"/templates/{template['id']}"
    author = User(editor.user_id, None, (), frozenset(), datetime.now(UTC))
    with ThreadPoolExecutor(1) as pool:
        with session_maker.begin() as session:
            update_template(session, author, UUID(template["id"]), TemplateUpdate(**change))
            deleting = pool.submit(editor.delete, path)
            with suppress(TimeoutError):
                deleting.result(timeout=0.3)
        assert deleting.result().status_code == 204

    assert editor.get(path).status_code == 404
