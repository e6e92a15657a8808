"""The outbox of notifications, on PostgreSQL with a sync and an async driver."""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from chassis.contracts import NewNotification
from chassis.errors import Unprocessable
from chassis.notification_outbox import NotificationOutbox, OutboxMixin
from chassis.service_client import ServiceClient
from chassis.tracing import TRACE_HEADER


class Base(DeclarativeBase):
    type_annotation_map = {datetime: sa.DateTime(timezone=True)}  # noqa: RUF012


class Message(OutboxMixin, Base):
    __tablename__ = "messages"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


class Communication(httpx.AsyncBaseTransport):
    """Keeps the requests, and answers with `status`."""

    def __init__(self) -> None:
        self.status = 202
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self.status, json={"detail": "as the test wants it"})


@pytest.fixture(autouse=True)
def table(engine: sa.Engine) -> Iterator[None]:
    Base.metadata.create_all(engine)
    yield
    Base.metadata.drop_all(engine)


@pytest.fixture(params=["sync", "async"])
async def sessions(
    request: pytest.FixtureRequest, engine: sa.Engine, database_url: str
) -> AsyncIterator[Any]:
    if request.param == "sync":
        yield sessionmaker(engine, expire_on_commit=False)
    else:
        async_engine = create_async_engine(database_url.replace("psycopg2", "asyncpg"))
        yield async_sessionmaker(async_engine, expire_on_commit=False)
        await async_engine.dispose()


@pytest.fixture
def communication() -> Communication:
    return Communication()


@pytest.fixture
async def client(communication: Communication) -> AsyncIterator[ServiceClient]:
    client = ServiceClient("http://communication", "toy-service", transport=communication)
    yield client
    await client.aclose()


def add(engine: sa.Engine, *texts: str) -> None:
    with Session(engine) as session, session.begin():
        session.add_all([Message(text=text, trace_id="trace-0123456789") for text in texts])


def rows(engine: sa.Engine) -> list[Any]:
    query = sa.select(Message.status, Message.attempts, Message.last_error).order_by(Message.id)
    with Session(engine) as session:
        return [tuple(row) for row in session.execute(query)]


def build(session: Session, message: Message) -> NewNotification | None:
    assert session.scalar(sa.select(1)) == 1
    if message.text == "out of date":
        return None
    return {"recipient_id": "ada", "category": "general", "body": message.text}


async def test_a_due_row_is_handed_over_under_its_id_and_trace(
    sessions: Any, engine: sa.Engine, client: ServiceClient, communication: Communication
) -> None:
    add(engine, "Hi")

    has_more = await NotificationOutbox(Message, sessions, build).send_due(client)

    (request,) = communication.requests
    assert (request.method, request.url.path) == ("POST", "/api/v1/notifications")
    assert json.loads(request.content)["body"] == "Hi"
    assert request.headers["Idempotency-Key"] == "1"
    assert request.headers[TRACE_HEADER] == "trace-0123456789"
    assert not has_more
    assert rows(engine) == [("done", 1, None)]


async def test_a_sent_row_can_be_deleted_and_so_is_one_out_of_date(
    sessions: Any, engine: sa.Engine, client: ServiceClient, communication: Communication
) -> None:
    add(engine, "Hi", "out of date")

    await NotificationOutbox(Message, sessions, build, keep_sent=False).send_due(client)

    assert len(communication.requests) == 1
    assert rows(engine) == []


async def test_there_may_be_more_after_a_full_batch(
    sessions: Any, engine: sa.Engine, client: ServiceClient
) -> None:
    add(engine, "one", "two", "three")
    outbox = NotificationOutbox(Message, sessions, build, batch_size=2)

    assert [await outbox.send_due(client) for _ in range(2)] == [True, False]


async def test_what_communication_refuses_is_retried_or_given_up(
    sessions: Any, engine: sa.Engine, client: ServiceClient, communication: Communication
) -> None:
    add(engine, "Hi")
    communication.status = 422

    await NotificationOutbox(Message, sessions, build).send_due(client)
    assert rows(engine) == [("pending", 1, "as the test wants it")]

    with engine.begin() as connection:
        connection.execute(sa.update(Message).values(run_at=sa.func.now()))
    outbox = NotificationOutbox(Message, sessions, build, give_up_on=(Unprocessable,))
    await outbox.send_due(client)
    assert rows(engine) == [("dead", 2, "as the test wants it")]
