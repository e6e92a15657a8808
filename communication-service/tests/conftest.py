"""Fixtures: the running app, users to call it as, a mail server, and a worker to run on demand."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any
from uuid import uuid4

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP as Server
from aiosmtpd.smtp import Envelope, Session
from fastapi.testclient import TestClient

from chassis.remote_auth import ServiceAccount
from chassis.service_client import ServiceClient, run_from_thread
from chassis.untrusted_http import UntrustedHttpClient
from communication_service.delivery.worker import DeliveryWorker
from communication_service.main import app
from communication_service.settings import Settings, settings
from tools.localdev.fake_identity import FakeIdentity, Person
from tools.localdev.servers import reserve_free_port

from .webhook_sink import Sink, running_sink

logging.getLogger("mail.log").setLevel(logging.WARNING)  # a line per SMTP command

MEMBER = ("notifications:send", "templates:read")
EDITOR = (*MEMBER, "templates:write")
HANG_UP = "in place of an answer to what was received"


class Caller(TestClient):
    """Calls the API as one user; paths start after /api/v1."""

    user_id: str
    email: str

    def notify(self, recipient: "Caller | Person", **fields: Any) -> dict[str, Any]:
        new = {"recipient_id": recipient.user_id, "subject": "Hello", "body": "News.", **fields}
        response = self.post("/notifications", json=new)
        assert response.status_code == 202, response.text
        return dict(response.json())

    def status(self, notification: dict[str, Any]) -> str:
        return str(self.get(f"/notifications/{notification['id']}").json()["status"])

    def attempts(self, notification: dict[str, Any]) -> list[dict[str, Any]]:
        response = self.get(f"/notifications/{notification['id']}/attempts")
        return list(response.json()["items"])

    def inbox(self) -> list[dict[str, Any]]:
        return list(self.get("/inbox").json()["items"])

    def template(self, **fields: Any) -> dict[str, Any]:
        new = {"name": f"t-{uuid4().hex}", "subject": "Hi", "body": "Hi {{ name }}", **fields}
        response = self.post("/templates", json=new)
        assert response.status_code == 201, response.text
        return dict(response.json())


class MailServer:
    """Runs a real SMTP server. `refusals` are its answers to an address or command."""

    def __init__(self, port: int, **options: Any) -> None:
        self.received: list[EmailMessage] = []
        self.connections: set[Any] = set()  # that delivered mails
        self.refusals: dict[str, str] = {}
        self.pause = 0.0
        self.controller = Controller(self, "127.0.0.1", port, **options)

    async def handle_MAIL(
        self, server: Server, session: Session, envelope: Envelope, address: str, _: list[str]
    ) -> str:
        self.connections.add(session.peer)
        if refusal := self.refusals.get("MAIL"):
            return refusal
        envelope.mail_from = address
        return "250 OK"

    async def handle_QUIT(self, server: Server, session: Session, envelope: Envelope) -> str:
        return self.refusals.get("QUIT", "221 Bye")

    async def handle_RCPT(
        self, server: Server, session: Session, envelope: Envelope, address: str, _: list[str]
    ) -> str:
        if refusal := self.refusals.get(address):
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Server, session: Session, envelope: Envelope) -> str:
        time.sleep(self.pause)
        refusal = self.refusals.get("DATA", "250 OK")
        if refusal in ("250 OK", HANG_UP):
            assert isinstance(envelope.content, bytes)
            self.received.append(message_from_bytes(envelope.content, policy=default))
        if refusal == HANG_UP:
            assert server.transport
            server.transport.close()
        return refusal

    async def hang_up(self) -> None:
        """Closes connections, which aiosmtpd leaves to a closed event loop; Python would warn."""
        connections = asyncio.all_tasks() - {asyncio.current_task()}
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await asyncio.sleep(0)  # lets their sockets close

    def mails_to(self, person: Caller | Person) -> list[EmailMessage]:
        return [mail for mail in self.received if person.email in str(mail["To"])]


@pytest.fixture(scope="session", autouse=True)
def database(migrated: Callable[[str], None]) -> None:
    migrated("communication-service")


@pytest.fixture(scope="session")
def identity() -> FakeIdentity:
    return FakeIdentity()


@pytest.fixture(scope="module")
def client(database: None, identity: FakeIdentity) -> Iterator[TestClient]:
    """Starts the app once; no user is logged in."""
    app.state.transport = identity
    settings.webhook_allow_hosts = ["127.0.0.1"]
    with TestClient(app, base_url="http://testserver/api/v1") as client:
        yield client


@pytest.fixture
def login(client: TestClient, identity: FakeIdentity) -> Callable[..., Caller]:
    def login(*permissions: str, **person: Any) -> Caller:
        found = identity.add_person(*(permissions or MEMBER), **person)
        caller = Caller(app, base_url=str(client.base_url), headers=found.headers)
        caller.user_id = found.user_id
        caller.email = found.email
        caller.portal = client.portal  # the event loop the app was started in
        return caller

    return login


@pytest.fixture
def sender(login: Callable[..., Caller]) -> Caller:
    return login()


@pytest.fixture
def editor(login: Callable[..., Caller]) -> Caller:
    return login(*EDITOR)


@pytest.fixture
def recipient(login: Callable[..., Caller]) -> Caller:
    return login("documents:read", name="Rita Reviewer")


@contextmanager
def running_mail_server(
    kind: type[MailServer] = MailServer, **options: Any
) -> Iterator[MailServer]:
    server = kind(reserve_free_port(), **options)
    server.controller.start()
    yield server
    asyncio.run_coroutine_threadsafe(server.hang_up(), server.controller.loop).result()
    server.controller.stop()


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    with running_mail_server() as server:
        yield server


@pytest.fixture
def deliver(mail_server: MailServer, identity: FakeIdentity) -> Iterator[Callable[..., None]]:
    """Does what the worker does when it is woken up; any setting can be changed."""
    account = ServiceAccount(settings, identity)
    url = settings.identity_service_url
    client = ServiceClient(url, settings.service_name, account=account, transport=identity)

    http_client = UntrustedHttpClient(["127.0.0.1"], timeout=2)

    def deliver(**changes: Any) -> None:
        worker = DeliveryWorker(build_settings(mail_server, **changes), client, http_client)
        while worker.deliver_due():
            pass

    yield deliver
    run_from_thread(http_client.aclose)


def build_settings(mail_server: MailServer, **changes: Any) -> Settings:
    here = {"smtp_host": "127.0.0.1", "smtp_port": mail_server.controller.port}
    return settings.model_copy(update={**here, **changes})


@pytest.fixture
def sink() -> Iterator[Sink]:
    with running_sink(Sink) as sink:
        yield sink


@pytest.fixture
def endpoint(recipient: Caller, sink: Sink) -> dict[str, Any]:
    response = recipient.post("/webhook-endpoints", json={"url": sink.url})
    assert response.status_code == 201, response.text
    return dict(response.json())
