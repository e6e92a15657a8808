"""Tests that no log of any process contains a secret."""

import re

from tools.localdev.services import SERVICES

from .users import (
    PASSWORD,
    PROTECTED_PATHS,
    Person,
    Stack,
    create_api_key,
    eventually,
    get_mails,
    get_service_token,
    register,
    send_request,
    upload_document,
)

LINK_PASSWORD = "the password of a shared link"


def test_no_secret_is_in_the_log_of_any_process(stack: Stack) -> None:
    person = register(stack)
    key = create_api_key(person, ["documents:read"])
    service = get_service_token(stack, "workflow", on_behalf_of=person.user_id)
    secrets = {
        "password": PASSWORD,
        "access token": person.token,
        "refresh token": person.refresh_token,
        "API key": key.token,
        "service token": service.token,
        "webhook secret": create_webhook_secret(person),
        "link": use_link(person),
        "password of the link": LINK_PASSWORD,
        "unsubscription": use_unsubscribe_link(person),
    }
    for caller in (person, key, service):
        for name, path in PROTECTED_PATHS.items():
            caller.request("GET", name, path)

    for process in list_processes():
        logged = stack.read_logs(process)
        assert [name for name, secret in secrets.items() if secret in logged] == [], process


def list_processes() -> list[str]:
    background = [f"{s.short}-{kind}" for s in SERVICES for kind in s.background]
    return [*(service.name for service in SERVICES), *background]


def create_webhook_secret(person: Person) -> str:
    new = {"url": "https://hooks.example.com/", "categories": ["none"]}
    return str(person.post("communication", "/webhook-endpoints", json=new)["secret"])


def use_link(person: Person) -> str:
    """Open a share link with the right and a wrong password; return its token."""
    links = f"/documents/{upload_document(person)['id']}/share-links"
    new = {"policy": "latest", "password": LINK_PASSWORD}
    token = str(person.post("content", links, json=new)["token"])
    for password in (LINK_PASSWORD, "wrong"):
        shared = {"params": {"token": token}, "auth": ("", password)}
        send_request(person.stack, "GET", "content", "/api/v1/shared", **shared)
    return token


def use_unsubscribe_link(person: Person) -> str:
    """Follow the unsubscribe link of a mail; return its token."""
    new = {"recipient_id": person.user_id, "subject": "News", "body": "News", "channels": ["email"]}
    person.post("communication", "/notifications", json=new)
    [mail] = eventually(lambda: get_mails(person.stack, person.email, "News"))
    [token] = re.findall(r"/unsubscribe/([\w.-]+)>", mail["headers"]["list-unsubscribe"])
    send_request(person.stack, "POST", "communication", f"/api/v1/unsubscribe/{token}")
    return str(token)
