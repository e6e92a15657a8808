"""Tests each row of the specification's communication matrix over HTTP."""

from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from chassis.settings import DEVELOPMENT_SERVICE_SECRET

from .users import (
    PASSWORD,
    PROTECTED_PATHS,
    Person,
    Stack,
    eventually,
    get_json,
    get_mails,
    get_service_token,
    log_in,
    register,
    send_request,
    start_review,
    upload_document,
    wait_for_run,
    wait_for_task,
)


@pytest.mark.parametrize(("service", "path"), PROTECTED_PATHS.items())
def test_all_services_ask_identity_about_tokens(stack: Stack, service: str, path: str) -> None:
    person = register(stack)

    let_in = person.request("GET", service, path)
    kept_out = Person(stack, "", "", "nonsense").request("GET", service, path)

    assert (let_in.status_code, kept_out.status_code) == (200, 401)


@pytest.mark.parametrize(
    ("service", "path", "permission"),
    [
        ("content", "/documents", "documents:read"),
        ("communication", "/templates", "templates:read"),
        ("workflow", "/definitions", "definitions:read"),
    ],
)
def test_all_services_go_by_the_permissions_that_identity_names(
    stack: Stack, service: str, path: str, permission: str
) -> None:
    outsider = log_in(stack, "outsider@example.com")

    response = outsider.request("GET", service, path)

    assert response.status_code == 403
    assert permission in response.json()["detail"]


def test_content_learns_permissions_and_profiles_from_identity(stack: Stack) -> None:
    person = register(stack)
    content = get_service_token(stack, "content")

    rights = content.get("identity", f"/users/{person.user_id}/permissions")
    profile = content.get("identity", f"/users/{person.user_id}/profile")

    assert rights["roles"] == ["member"]
    assert "documents:read" in rights["permissions"]
    assert profile["name"] == "Tess Tester"


def test_content_shares_with_people_that_identity_knows_only(stack: Stack) -> None:
    author = register(stack)
    friend = register(stack)
    permissions = f"/documents/{upload_document(author)['id']}/permissions"

    known = author.request(
        "PUT", "content", f"{permissions}/{friend.user_id}", json={"level": "read"}
    )
    unknown = author.request("PUT", "content", f"{permissions}/{uuid4()}", json={"level": "read"})

    assert known.is_success
    assert 400 <= unknown.status_code < 500


def test_content_has_communication_tell_the_person_shared_with(stack: Stack) -> None:
    author = register(stack)
    friend = register(stack)
    document = upload_document(author)

    path = f"/documents/{document['id']}/permissions/{friend.user_id}"
    assert author.request("PUT", "content", path, json={"level": "read"}).is_success

    mail = eventually(lambda: get_mails(stack, friend.email, about="read access"))[0]
    (item,) = eventually(partial(list_sharing_items, friend))
    assert document["title"] in item["body"] and document["title"] in mail["subject"]


def list_sharing_items(person: Person) -> list[Any]:
    items = person.get("communication", "/inbox")["items"]
    return [item for item in items if item["category"] == "sharing"]


def test_content_shares_with_roles_that_identity_knows_only(stack: Stack) -> None:
    author = register(stack)
    friend = register(stack)
    document = f"/documents/{upload_document(author)['id']}"

    known = author.request(
        "PUT", "content", f"{document}/permissions/roles/member", json={"level": "read"}
    )
    unknown = author.request(
        "PUT", "content", f"{document}/permissions/roles/unknown", json={"level": "read"}
    )
    taken = author.request(
        "PUT", "content", f"{document}/permissions/roles/service", json={"level": "read"}
    )

    assert known.is_success
    assert friend.get("content", document)
    assert (unknown.status_code, taken.status_code) == (404, 404)


def test_communication_learns_from_identity_where_to_reach_a_person(stack: Stack) -> None:
    sender = register(stack)
    recipient = register(stack)
    message = {"recipient_id": recipient.user_id, "subject": "Hello", "body": "Across the river"}

    sender.post("communication", "/notifications", json=message)

    mail = eventually(lambda: get_mails(stack, recipient.email))[0]
    assert "Across the river" in mail["text"]


def test_identity_has_communication_mail_a_link_to_set_a_forgotten_password(stack: Stack) -> None:
    person = register(stack)
    send_request(stack, "POST", "identity", "/auth/forgot-password", json={"email": person.email})

    [mail] = eventually(lambda: get_mails(stack, person.email, about="/auth/reset-password?token="))
    token = mail["text"].partition("?token=")[2].split()[0]
    new = {"token": token, "new_password": "a forgotten one, found again"}
    answers = [
        send_request(stack, "POST", "identity", "/auth/reset-password", json=new) for _ in "12"
    ]

    assert [answer.status_code for answer in answers] == [204, 410]
    eventually(lambda: person.request("GET", "content", "/documents").status_code == 401)
    assert log_in(stack, person.email, new["new_password"]).user_id == person.user_id


def test_who_uses_a_stolen_refresh_token_gives_themselves_away(stack: Stack) -> None:
    """The user is notified within five seconds, by mail and in the app."""
    person = register(stack)
    credentials = {"email": person.email, "password": PASSWORD}
    stolen = get_json(send_request(stack, "POST", "identity", "/auth/login", json=credentials))
    token = stolen["refresh_token"]
    for _ in range(2):
        body = {"refresh_token": token}
        token = get_json(send_request(stack, "POST", "identity", "/auth/refresh", json=body))[
            "refresh_token"
        ]

    body = {"refresh_token": stolen["refresh_token"]}
    assert send_request(stack, "POST", "identity", "/auth/refresh", json=body).status_code == 401

    eventually(
        lambda: get_mails(stack, person.email, about="a login token of your account was used"),
        seconds=5,
    )
    inbox = person.get("communication", "/inbox")["items"]
    assert any("a login token of your account was used" in item["body"] for item in inbox)


def test_communication_alone_may_read_contacts(stack: Stack) -> None:
    person = register(stack)
    stranger = register(stack)
    path = f"/users/{person.user_id}/contact"

    statuses = [
        who.request("GET", "identity", path).status_code
        for who in (
            get_service_token(stack, "communication"),
            get_service_token(stack, "content"),
            stranger,
        )
    ]

    assert statuses[0] == 200
    assert set(statuses[1:]) <= {403, 404}


def test_workflow_acts_with_the_roles_and_permissions_its_user_has_at_identity(
    stack: Stack,
) -> None:
    person = register(stack)
    acting = get_service_token(stack, "workflow", on_behalf_of=person.user_id)

    validated = get_json(acting.request("POST", "identity", "/auth/validate"))
    refused = send_request(
        stack, "POST", "identity", "/api/v1/auth/token", data=build_content_grant(person)
    )

    assert validated["user_id"] == person.user_id
    assert validated["roles"] == ["member"]
    assert validated["actor"] == "workflow-service"
    assert refused.status_code == 403


def build_content_grant(person: Person) -> dict[str, str]:
    """Build a request that identity must refuse: content may not act on behalf of users."""
    return {
        "grant_type": "client_credentials",
        "client_id": "content-service",
        "client_secret": DEVELOPMENT_SERVICE_SECRET,
        "on_behalf_of": person.user_id,
    }


def test_a_run_whose_starter_loses_the_permission_stops_there(stack: Stack) -> None:
    author = register(stack)
    admin = log_in(stack, "admin@example.com")
    document = upload_document(author)
    task = wait_for_task(admin, start_review(author, admin, document))
    get_json(
        admin.request(
            "PUT", "identity", f"/users/{author.user_id}/roles", json={"roles": ["viewer"]}
        )
    )

    admin.post("workflow", f"/tasks/{task['id']}/complete", json={"decision": "approve"})

    run = wait_for_run(admin, {"id": task["workflow_id"]})
    assert run["status"] == "failed"
    assert "notifications:send" in run["error"]


def test_workflow_has_content_process_documents(stack: Stack) -> None:
    author = register(stack)
    document = upload_document(author)

    task = wait_for_task(author, start_review(author, author, document))

    processing = author.get("content", f"/documents/{document['id']}/processing")
    assert processing["status"] == "done"
    assert task["subject"]["title"] == document["title"]
    assert list_workflow_actions(author, document) >= {"document.processing_requested"}


def list_workflow_actions(author: Person, document: Any) -> set[str]:
    trail = author.get("content", f"/documents/{document['id']}/audit")["items"]
    return {e["action"] for e in trail if e["acting_service"] == "workflow-service"}


def test_workflow_has_communication_send_notifications(stack: Stack) -> None:
    author = register(stack)
    run = start_review(author, author, upload_document(author))

    task = wait_for_task(author, run)

    sent = eventually(lambda: author.get("communication", "/notifications")["items"])
    assert [n["template"] for n in sent] == ["review-requested"]
    assert task["id"] in eventually(lambda: get_mails(stack, author.email))[0]["text"]
