"""No secret that anybody uses at any service is in the log of any process."""

import re

from tools.localdev.services import SERVICES

from .people import (
    PASSWORD,
    PROTECTED,
    Person,
    Stack,
    ask,
    eventually,
    mails,
    new_key,
    register,
    service_token,
    upload,
)

LINK_PASSWORD = "the password of a shared link"


def test_no_secret_is_in_the_log_of_any_process(stack: Stack) -> None:
    person = register(stack)
    key = new_key(person, ["documents:read"])
    service = service_token(stack, "workflow", on_behalf_of=person.user_id)
    secrets = {
        "password": PASSWORD,
        "access token": person.token,
        "refresh token": person.refresh_token,
        "API key": key.token,
        "service token": service.token,
        "webhook secret": webhook_secret(person),
        "link": used_link(person),
        "password of the link": LINK_PASSWORD,
        "unsubscription": used_unsubscription(person),
    }
    for caller in (person, key, service):
        for name, path in PROTECTED.items():
            caller.ask("GET", name, path)

    for process in processes():
        logged = stack.logs(process)
        assert [name for name, secret in secrets.items() if secret in logged] == [], process


def processes() -> list[str]:
    background = [f"{s.short}-{kind}" for s in SERVICES for kind in s.background]
    return [*(service.name for service in SERVICES), *background]


def webhook_secret(person: Person) -> str:
    new = {"url": "https://hooks.example.com/", "categories": ["none"]}
    return str(person.post("communication", "/webhook-endpoints", json=new)["secret"])


def used_link(person: Person) -> str:
    """A share link with a password, opened well and badly."""
    links = f"/documents/{upload(person)['id']}/share-links"
    new = {"policy": "latest", "password": LINK_PASSWORD}
    token = str(person.post("content", links, json=new)["token"])
    for password in (LINK_PASSWORD, "wrong"):
        shared = {"params": {"token": token}, "auth": ("", password)}
        ask(person.stack, "GET", "content", "/api/v1/shared", **shared)
    return token


def used_unsubscription(person: Person) -> str:
    """The token of the link with which a mail is unsubscribed from, followed."""
    new = {"recipient_id": person.user_id, "subject": "News", "body": "News", "channels": ["email"]}
    person.post("communication", "/notifications", json=new)
    [mail] = eventually(lambda: mails(person.stack, person.email, "News"))
    [token] = re.findall(r"/unsubscribe/([\w.-]+)>", mail["headers"]["list-unsubscribe"])
    ask(person.stack, "POST", "communication", f"/api/v1/unsubscribe/{token}")
    return str(token)
