"""Share links: what they open, for whom, and what they never reveal."""

from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import text, update

from content_service.database import engine
from content_service.models import ShareLink

from .conftest import Caller, clean_up, expire_grant, get_time_in_an_hour
from .files import make_pdf


def create_link(author: Caller, document: dict[str, Any], **options: Any) -> dict[str, Any]:
    new = {"policy": "latest", **options}
    response = author.post(f"/documents/{document['id']}/share-links", json=new)
    assert response.status_code == 201, response.text
    link: dict[str, Any] = response.json()
    return link


def open_link(client: TestClient, link: dict[str, Any], password: str | None = None) -> Response:
    auth = None if password is None else ("any user", password)
    return client.get("/shared", params={"token": link["token"]}, auth=auth)


def update_link(link: dict[str, Any], **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(update(ShareLink).where(ShareLink.id == link["id"]).values(**values))


def test_a_link_opens_the_document_without_a_login(client: TestClient, author: Caller) -> None:
    file = make_pdf("Closing the mill race")
    document = author.upload(file, "race.pdf")

    answer = open_link(client, create_link(author, document))

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/pdf")
    assert answer.content == file
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_the_address_in_the_answer_is_the_one_to_open(client: TestClient, author: Caller) -> None:
    link = create_link(author, author.create(body="By its address"))

    answer = client.get(link["url"].removeprefix("/api/v1"))

    assert answer.text == "By its address"


def test_a_pinned_link_stays_with_its_version_and_a_latest_one_follows(
    client: TestClient, author: Caller
) -> None:
    document = author.create(body="First")
    pinned, latest = (create_link(author, document, policy=p) for p in ("pinned", "latest"))
    second = author.change(document, body="Second").json()
    first = create_link(author, document, policy="pinned", version=1)
    author.change(second, body="Third")

    assert [open_link(client, link).text for link in (pinned, first, latest)] == [
        "First",
        "First",
        "Third",
    ]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"policy": "newest"}, "policy"),
        ({"policy": None}, "policy"),
        ({"policy": "latest", "version": 1}, "body"),
        ({"policy": "pinned", "version": 0}, "version"),
        ({"policy": "pinned", "version": 2**31}, "version"),
        ({"max_uses": 0}, "max_uses"),
        ({"max_uses": 10**7}, "max_uses"),
        ({"password": "short"}, "password"),
        ({"password": "x" * 201}, "password"),
        ({"password": "pässwörter"}, "password"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "9999-12-31T00:00:00Z"}, "expires_at"),
        ({"token": "of my own"}, "token"),
    ],
    ids=str,
)
def test_an_invalid_link_names_its_field(
    author: Caller, options: dict[str, Any], field: str
) -> None:
    document = author.create()

    new = {"policy": "latest", **options}
    response = author.post(f"/documents/{document['id']}/share-links", json=new)

    assert response.status_code == 422
    assert field in [error["field"] for error in response.json()["errors"]]


def test_an_unknown_version_cannot_be_pinned(author: Caller) -> None:
    path = f"/documents/{author.create()['id']}/share-links"

    response = author.post(path, json={"policy": "pinned", "version": 2})

    assert (response.status_code, response.json()["code"]) == (404, "UnknownVersion")


def test_a_password_is_requested_as_http_basic(client: TestClient, author: Caller) -> None:
    link = create_link(author, author.create(body="Behind it"), password="correct horse: 1")

    without = open_link(client, link)
    wrong = open_link(client, link, "incorrect horse")
    right = open_link(client, link, "correct horse: 1")

    for refused in (without, wrong):
        assert (refused.status_code, refused.json()["code"]) == (401, "WrongPassword")
        assert refused.headers["WWW-Authenticate"].startswith("Basic ")
    assert right.text == "Behind it"


def test_tokens_and_passwords_are_not_stored(author: Caller) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    path = f"/documents/{author.create()['id']}/share-links"
    new = {"policy": "latest", "password": "correct horse battery"}

    token = author.post(path, json=new, headers=headers).json()["token"]

    with engine.connect() as connection:
        tables = connection.scalars(
            text("SELECT tablename FROM pg_tables WHERE schemaname='public'")
        )
        for table in tables.all():
            rows = connection.execute(text(f"SELECT t::text FROM {table} t")).scalars().all()
            for secret in (token, token.encode().hex(), "correct horse battery"):
                assert not any(secret in row for row in rows), table
    assert "token" not in author.get(path).json()["items"][0]


def test_an_unknown_token_is_404(client: TestClient, author: Caller) -> None:
    link = create_link(author, author.create())

    for token in ("", "x", link["id"], link["token"][:-1], link["token"].lower(), "\x00"):
        answer = client.get("/shared", params={"token": token})
        assert (answer.status_code, answer.json()["code"]) == (404, "UnknownShareLink")
    assert client.get("/shared", params={"token": "x" * 101}).status_code == 422
    assert client.get("/shared").status_code == 422


def test_a_link_is_deleted_and_restored_with_its_document(
    client: TestClient, author: Caller
) -> None:
    document = author.create()
    link = create_link(author, document)
    path = f"/documents/{document['id']}"

    author.delete(path)
    assert open_link(client, link).json()["code"] == "UnknownShareLink"

    author.post(f"{path}/restore")
    assert open_link(client, link).status_code == 200

    author.delete(path)
    assert author.delete(f"/trash/{document['id']}").status_code == 204
    assert open_link(client, link).json()["code"] == "UnknownShareLink"


def test_opening_a_link_is_in_the_trail_without_an_address(
    client: TestClient, author: Caller
) -> None:
    document = author.create()
    link = create_link(author, document)
    open_link(client, link)
    open_link(client, link)
    author.delete(f"/documents/{document['id']}/share-links/{link['id']}")
    open_link(client, link)

    entries = author.get(f"/documents/{document['id']}/audit").json()["items"]

    assert [entry["action"] for entry in entries] == [
        "share.revoked",
        "share.opened",
        "share.opened",
        "share.created",
        "document.created",
    ]
    first = entries[1]
    second = entries[2]
    assert first["actor_id"] is None
    assert (first["details"]["link_id"], first["details"]["version"]) == (link["id"], 1)
    assert first["details"]["ip_hash"] == second["details"]["ip_hash"]
    assert len(first["details"]["ip_hash"]) == 64


@pytest.mark.parametrize("how", ["taken away", "lowered", "over"])
def test_links_end_with_the_permission_of_their_creator(
    client: TestClient, author: Caller, reviewer: Caller, how: str
) -> None:
    document = author.create()
    author.share(document, reviewer, "manage", expires_at=get_time_in_an_hour())
    mine = create_link(author, document)
    theirs = create_link(reviewer, document)

    if how == "taken away":
        author.delete(f"/documents/{document['id']}/permissions/{reviewer.user_id}")
    elif how == "lowered":
        author.share(document, reviewer, "write")
    else:
        expire_grant(document, f"user:{reviewer.user_id}")
        clean_up()

    assert [open_link(client, link).status_code for link in (mine, theirs)] == [200, 410]
    entries = author.get(f"/documents/{document['id']}/audit").json()["items"]
    (revoked,) = [entry for entry in entries if entry["action"] == "share.revoked"]
    assert revoked["details"]["link_id"] == theirs["id"]
    assert revoked["actor_id"] == (None if how == "over" else author.user_id)


def test_links_stay_while_their_creator_keeps_the_permission(
    client: TestClient, author: Caller, reviewer: Caller
) -> None:
    document = author.create()
    author.share(document, reviewer, "manage")
    link = create_link(reviewer, document)

    author.share(document, reviewer, "manage", expires_at=get_time_in_an_hour())

    assert open_link(client, link).status_code == 200


def test_only_managers_of_the_document_create_links(author: Caller, reviewer: Caller) -> None:
    document = author.create()
    author.share(document, reviewer, "write")
    link = create_link(author, document)
    path = f"/documents/{document['id']}/share-links"

    answers = [
        reviewer.get(path),
        reviewer.post(path, json={"policy": "latest"}),
        reviewer.delete(f"{path}/{link['id']}"),
    ]

    assert {answer.json()["code"] for answer in answers} == {"LevelTooLow"}
