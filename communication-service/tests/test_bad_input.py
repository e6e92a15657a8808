"""Bad input: each case is a 4xx that names the field."""

import json
from typing import Any

import pytest

from .conftest import Caller

JSON = {"Content-Type": "application/json"}
SOME_ID = "00000000-0000-4000-8000-000000000000"
SEND = {"recipient_id": SOME_ID, "subject": "Hi", "body": "Hi"}
PREVIEW = {"subject": "Hi", "body": "Hi"}
TEMPLATE = {"name": "bad-input", "subject": "Hi", "body": "Hi"}
DEEP: Any = None
for _ in range(30):
    DEEP = [DEEP]

BAD = [
    ("/notifications", SEND, {"recipient_id": None}, "recipient_id"),
    ("/notifications", SEND, {"recipient_id": "rita"}, "recipient_id"),
    ("/notifications", SEND, {"recipient_id": 7}, "recipient_id"),
    ("/notifications", SEND, {"channels": []}, "channels"),
    ("/notifications", SEND, {"channels": "email"}, "channels"),
    ("/notifications", SEND, {"channels": ["pigeon"]}, "channels.0"),
    ("/notifications", SEND, {"channels": [["email"]]}, "channels.0"),
    ("/notifications", SEND, {"category": ""}, "category"),
    ("/notifications", SEND, {"category": "a b"}, "category"),
    ("/notifications", SEND, {"category": "a\n"}, "category"),
    ("/notifications", SEND, {"category": "a" * 51}, "category"),
    ("/notifications", SEND, {"subject": None}, "subject"),
    ("/notifications", SEND, {"subject": ""}, "subject"),
    ("/notifications", SEND, {"subject": "a" * 301}, "subject"),
    ("/notifications", SEND, {"subject": "a\r\nBcc: b@example.com"}, "subject"),
    ("/notifications", SEND, {"subject": "a\u2028b"}, "subject"),
    ("/notifications", SEND, {"subject": "a\x00b"}, "subject"),
    ("/notifications", SEND, {"subject": "\ud800"}, "subject"),
    ("/notifications", SEND, {"body": None}, "body"),
    ("/notifications", SEND, {"body": ""}, "body"),
    ("/notifications", SEND, {"body": "a" * 100_001}, "body"),
    ("/notifications", SEND, {"body": "a\x00b"}, "body"),
    ("/notifications", SEND, {"html": "<p>"}, "html"),
    ("/notifications", SEND, {"sender_id": SOME_ID}, "sender_id"),
    ("/notifications", SEND, {"template": "review-decided"}, "subject"),
    ("/notifications", SEND, {"variables": {"a": 1}}, "variables"),
    ("/notifications", SEND, {"send_at": "tomorrow"}, "send_at"),
    ("/notifications", SEND, {"send_at": "2026-01-01T00:00:00"}, "send_at"),
    ("/notifications", SEND, {"send_at": "9999-12-31T23:59:59-14:00"}, "send_at"),
    ("/notifications", SEND, {"send_at": 1e300}, "send_at"),
    ("/notifications", {"recipient_id": SOME_ID}, {"template": "No Name"}, "template"),
    ("/notifications", {"recipient_id": SOME_ID}, {"template": "unknown"}, "template"),
    ("/notifications", {"recipient_id": SOME_ID}, {"template": "a" * 101}, "template"),
    ("/notifications", {"recipient_id": SOME_ID}, {"template": "review-decided"}, "variables"),
    ("/templates", TEMPLATE, {"name": "Bad Name"}, "name"),
    ("/templates", TEMPLATE, {"name": ""}, "name"),
    ("/templates", TEMPLATE, {"name": "a\x00"}, "name"),
    ("/templates", TEMPLATE, {"subject": "a\nb"}, "subject"),
    ("/templates", TEMPLATE, {"subject": None}, "subject"),
    ("/templates", TEMPLATE, {"body": "{{"}, "body"),
    ("/templates", TEMPLATE, {"html": "{{ a() }}"}, "html"),
    ("/templates", TEMPLATE, {"html": "\x00"}, "html"),
    ("/templates", TEMPLATE, {"built_in": True}, "built_in"),
    ("/templates", TEMPLATE, {"version": 7}, "version"),
    ("/templates/preview", PREVIEW, {"variables": 1}, "variables"),
    ("/templates/preview", PREVIEW, {"variables": {"a": "\x00"}}, "variables"),
    ("/templates/preview", PREVIEW, {"variables": {"\x00": "a"}}, "variables"),
    ("/templates/preview", PREVIEW, {"variables": {"a": "\ud800"}}, "variables"),
    ("/templates/preview", PREVIEW, {"variables": {"a": DEEP}}, "variables"),
    ("/templates/preview", PREVIEW, {"variables": {"a": [0] * 10_001}}, "variables"),
    ("/templates/preview", PREVIEW, {"body": "{{ name }}"}, "variables"),
    ("/templates/preview", PREVIEW, {"name": "a"}, "name"),
    (f"/templates/{SOME_ID}/render", {}, {"variables": []}, "variables"),
    (f"/templates/{SOME_ID}/render", {}, {"extra": 1}, "extra"),
]


@pytest.mark.parametrize(
    ("path", "good", "change", "field"), BAD, ids=[f"{b[0][:14]} {b[2]!s:.40}" for b in BAD]
)
def test_a_bad_field_is_named(
    editor: Caller, path: str, good: dict[str, Any], change: dict[str, Any], field: str
) -> None:
    body = json.dumps({**good, **change})  # httpx could not send a lone surrogate
    response = editor.post(path, content=body, headers=JSON)

    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["errors"][0]["field"] == field
    assert field in problem["detail"]


@pytest.mark.parametrize("path", ["/notifications", "/templates", "/templates/preview"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"7", b'{"a":' * 5000, b"\xff"])
def test_a_body_that_is_no_object_is_refused(editor: Caller, path: str, body: bytes) -> None:
    response = editor.post(path, content=body, headers=JSON)

    assert response.status_code in (400, 422), response.text


def test_a_number_too_long_for_python_is_refused(editor: Caller) -> None:
    body = b'{"subject": "a", "body": "{{ n }}", "variables": {"n": ' + b"9" * 5000 + b"}}"

    response = editor.post("/templates/preview", content=body, headers=JSON)

    assert response.status_code == 400, response.text


def test_a_body_that_is_too_large_is_refused(editor: Caller) -> None:
    response = editor.post("/notifications", json={**SEND, "body": "a" * 2**20})

    assert response.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "field"),
    [
        ("GET", "/templates/none", "template_id"),
        ("PUT", "/templates/none", "template_id"),
        ("DELETE", "/templates/none", "template_id"),
        ("POST", "/templates/none/render", "template_id"),
        ("GET", f"/templates/{SOME_ID}?version=0", "version"),
        ("GET", f"/templates/{SOME_ID}?version=99999999999", "version"),
        ("GET", "/templates?limit=0", "limit"),
        ("GET", "/templates?cursor=nonsense", "cursor"),
        ("GET", "/notifications/none", "notification_id"),
        ("GET", "/notifications/none/attempts", "notification_id"),
        ("POST", "/notifications/none/cancel", "notification_id"),
        ("POST", "/notifications/none/retry", "notification_id"),
        ("GET", "/notifications?limit=101", "limit"),
        ("GET", "/notifications?cursor=WzFd", "cursor"),
        ("GET", "/inbox?unread=perhaps", "unread"),
        ("GET", "/inbox?cursor=%00", "cursor"),
        ("PUT", "/inbox/none/read", "item_id"),
    ],
)
def test_a_bad_path_or_query_is_named(editor: Caller, method: str, path: str, field: str) -> None:
    body = PREVIEW if method == "PUT" and "templates" in path else {}
    response = editor.request(method, path, json=body)

    assert response.status_code == 422, response.text
    assert response.json()["errors"][0]["field"] == field
