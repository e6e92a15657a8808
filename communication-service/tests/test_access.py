"""Who gets in: nobody without a token, nobody without the permission, nobody to others' things."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from .conftest import EDITOR, Caller

Login = Callable[..., Caller]

SOME_ID = "00000000-0000-4000-8000-000000000000"
PARTS = {"subject": "Hi", "body": "Hi"}

ROUTES = [
    ("GET", "/templates", None, "templates:read"),
    ("POST", "/templates", {"name": "n", **PARTS}, "templates:write"),
    ("POST", "/templates/preview", PARTS, "templates:write"),
    ("GET", f"/templates/{SOME_ID}", None, "templates:read"),
    ("PUT", f"/templates/{SOME_ID}", PARTS, "templates:write"),
    ("DELETE", f"/templates/{SOME_ID}", None, "templates:write"),
    ("POST", f"/templates/{SOME_ID}/render", {}, "templates:read"),
    ("POST", "/notifications", {"recipient_id": SOME_ID, **PARTS}, "notifications:send"),
    ("GET", "/notifications", None, None),
    ("GET", f"/notifications/{SOME_ID}", None, None),
    ("GET", f"/notifications/{SOME_ID}/attempts", None, None),
    ("POST", f"/notifications/{SOME_ID}/cancel", None, "notifications:send"),
    ("POST", f"/notifications/{SOME_ID}/retry", None, "notifications:send"),
    ("GET", "/queue/status", None, "queue:read"),
    ("GET", "/inbox", None, None),
    ("GET", "/inbox/unread-count", None, None),
    ("PUT", "/inbox/read-all", None, None),
    ("PUT", f"/inbox/{SOME_ID}/read", None, None),
]
NAMES = [f"{method} {path.replace(SOME_ID, 'id')}" for method, path, _, _ in ROUTES]


@pytest.mark.parametrize(("method", "path", "body", "permission"), ROUTES, ids=NAMES)
def test_each_route_asks_for_a_token_and_its_permission(
    method: str,
    path: str,
    body: object,
    permission: str | None,
    client: TestClient,
    login: Login,
) -> None:
    nobody = client.request(method, path, json=body)
    forger = client.request(method, path, json=body, headers={"Authorization": "Bearer forged"})
    assert nobody.status_code == forger.status_code == 401
    assert nobody.headers["WWW-Authenticate"] == "Bearer"

    others = {"notifications:send", "templates:read", "templates:write", "queue:read"}
    answer = login(*(others - {permission})).request(method, path, json=body)

    if permission is None:
        assert answer.status_code in (200, 404)
    else:
        assert answer.status_code == 403
        assert permission in answer.json()["detail"]


def test_these_are_all_the_routes(client: TestClient) -> None:
    paths = client.get("http://testserver/openapi.json").json()["paths"]
    documented = {
        (method.upper(), path.removeprefix("/api/v1"))
        for path, methods in paths.items()
        for method in methods
        if path.startswith("/api/v1")
    }

    assert len(documented) == len(ROUTES)
    for method, path in documented:
        shape = path.partition("{")[0]
        assert any(method == m and p.startswith(shape) for m, p, _, _ in ROUTES), path


@pytest.mark.parametrize(
    ("method", "action"),
    [("GET", ""), ("GET", "/attempts"), ("POST", "/cancel"), ("POST", "/retry")],
)
def test_a_notification_is_its_senders_alone(
    method: str, action: str, sender: Caller, recipient: Caller, login: Login
) -> None:
    path = f"/notifications/{sender.notify(recipient)['id']}{action}"
    nowhere = f"/notifications/{SOME_ID}{action}"

    for stranger in (login(*EDITOR, "queue:read"), login(user_id=recipient.user_id)):
        answer, unknown = stranger.request(method, path), stranger.request(method, nowhere)
        assert answer.status_code == 404
        assert answer.json()["detail"] == unknown.json()["detail"]
    assert login("*").request(method, path).status_code in (200, 409)


def test_an_inbox_item_is_its_recipients_alone(
    sender: Caller, recipient: Caller, login: Login, deliver: Callable[..., None]
) -> None:
    sender.notify(recipient, channels=["in_app"])
    deliver()
    (item,) = recipient.inbox()

    for stranger in (sender, login(), login("*")):
        assert stranger.put(f"/inbox/{item['id']}/read").status_code == 404
        assert stranger.inbox() == []
    assert recipient.inbox()[0]["read_at"] is None


def test_a_service_acts_for_a_person_with_that_persons_rights(
    sender: Caller, recipient: Caller, login: Login
) -> None:
    workflow = login("notifications:send", user_id=sender.user_id, actor="workflow-service")

    accepted = workflow.notify(recipient)

    assert accepted["sender_id"] == sender.user_id
    assert sender.get(f"/notifications/{accepted['id']}").status_code == 200


def test_another_persons_idempotency_key_is_not_mine(
    sender: Caller, recipient: Caller, login: Login
) -> None:
    new = {"recipient_id": recipient.user_id, **PARTS}
    headers = {"Idempotency-Key": "shared"}
    mine = sender.post("/notifications", json=new, headers=headers)

    theirs = login().post("/notifications", json=new, headers=headers)

    assert "Idempotent-Replayed" not in theirs.headers
    assert theirs.json()["id"] != mine.json()["id"]
