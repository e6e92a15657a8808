"""Keyset pages of a real table, over HTTP."""

import json
import uuid
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pytest
import sqlalchemy as sa
from fastapi import Depends
from fastapi.testclient import TestClient
from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from uuid_utils.compat import uuid7

from chassis.app import create_app
from chassis.pagination import Page, PageParameters, PageRequest, paginate

from .toy import toy_settings


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7)
    title: Mapped[str]
    number: Mapped[int] = mapped_column(sa.BigInteger)
    written_at: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))


class NoteRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    title: str


ORDERS: dict[str, Any] = {
    "id": (Note.id,),
    "time": (Note.written_at, Note.id),
    "title": (Note.title, Note.id),
    "number": (Note.number, Note.title, Note.id),
}

START = datetime(2026, 1, 1, 12, 0, 0, 123456, UTC)


@pytest.fixture
def sessions(engine: sa.Engine) -> sessionmaker[Session]:
    """An empty table."""
    Base.metadata.create_all(engine)
    sessions = sessionmaker(engine)
    with sessions.begin() as session:
        session.execute(sa.delete(Note))
    return sessions


@pytest.fixture
def client(sessions: sessionmaker[Session]) -> TestClient:
    app = create_app(toy_settings())

    def get_db_session() -> Iterator[Session]:
        with sessions.begin() as session:
            yield session

    @app.get("/notes/{order}", response_model=Page[NoteRead])
    def notes(
        order: str, page: PageRequest, session: Annotated[Session, Depends(get_db_session)]
    ) -> Any:
        return paginate(session, sa.select(Note), page, *ORDERS[order])

    @app.get("/oldest/{order}", response_model=Page[NoteRead])
    def oldest(
        order: str, page: PageRequest, session: Annotated[Session, Depends(get_db_session)]
    ) -> Any:
        return paginate(session, sa.select(Note), page, *ORDERS[order], oldest_first=True)

    return TestClient(app)


def write(sessions: sessionmaker[Session], numbers: Iterable[int]) -> None:
    """Notes in threes of one time, fours of one title and fives of one number."""
    with sessions.begin() as session:
        for n in numbers:
            written_at = START + timedelta(microseconds=n // 3)
            session.add(Note(title=f"Grüße {n // 4}", number=n // 5, written_at=written_at))


def ordered(sessions: sessionmaker[Session], order: str) -> list[str]:
    statement = sa.select(Note.id).order_by(*(column.desc() for column in ORDERS[order]))
    with sessions() as session:
        return [str(row) for row in session.scalars(statement)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("limit", [1, 7, 24, 100])
def test_a_walk_through_the_pages_sees_each_row_once_and_in_order(
    client: TestClient, sessions: sessionmaker[Session], order: str, limit: int
) -> None:
    write(sessions, range(24))

    seen = []
    cursor = ""
    while cursor is not None:
        page = client.get(f"/notes/{order}", params={"limit": limit, "cursor": cursor}).json()
        seen += [item["id"] for item in page["items"]]
        assert len(page["items"]) <= limit
        cursor = page["next_cursor"]

    assert seen == ordered(sessions, order)


def test_a_walk_may_begin_with_the_oldest(
    client: TestClient, sessions: sessionmaker[Session]
) -> None:
    write(sessions, range(10))

    seen = []
    cursor = ""
    while cursor is not None:
        page = client.get("/oldest/time", params={"limit": 3, "cursor": cursor}).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]

    assert seen == ordered(sessions, "time")[::-1]


@pytest.mark.parametrize("order", ORDERS)
def test_rows_that_appear_during_the_walk_do_not_disturb_it(
    client: TestClient, sessions: sessionmaker[Session], order: str
) -> None:
    write(sessions, range(12))
    before = ordered(sessions, order)

    seen = []
    cursor = ""
    written = 12
    while cursor is not None:
        page = client.get(f"/notes/{order}", params={"limit": 5, "cursor": cursor}).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        write(sessions, range(written, written := written + 5))

    assert len(seen) == len(set(seen))
    assert [identifier for identifier in seen if identifier in before] == before


def test_an_empty_list_is_one_empty_page(client: TestClient) -> None:
    assert client.get("/notes/id").json() == {"items": [], "next_cursor": None}


def test_a_page_has_fifty_rows_by_default(
    client: TestClient, sessions: sessionmaker[Session]
) -> None:
    write(sessions, range(51))

    page = client.get("/notes/id").json()

    assert len(page["items"]) == 50
    assert page["next_cursor"]


@pytest.mark.parametrize("limit", ["0", "-1", "101", "ten", "1.5", "9" * 400])
def test_a_limit_out_of_range_is_refused_by_name(client: TestClient, limit: str) -> None:
    response = client.get("/notes/id", params={"limit": limit})

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "limit"


def forged(*values: Any) -> str:
    return urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


SOME_ID = "01890a5d-ac96-774b-bcce-b302099a8057"

BAD_CURSORS = [
    ("id", "x"),
    ("id", "garbage!"),
    ("id", "ü"),
    ("id", "=="),
    ("id", "\x00"),
    ("id", "x" * 501),
    ("id", forged()),
    ("id", forged("no id")),
    ("id", forged(7)),
    ("id", forged(None)),
    ("id", forged(SOME_ID, SOME_ID)),
    ("id", urlsafe_b64encode(b'{"id": 1}').decode()),
    ("id", urlsafe_b64encode(b"[" * 300).decode()),
    ("time", forged(SOME_ID)),
    ("time", forged("2026-01-01", SOME_ID)),
    ("time", forged("2026-01-01T00:00:00", SOME_ID)),
    ("time", forged("yesterday", SOME_ID)),
    ("title", forged("nul\x00", SOME_ID)),
    ("title", forged("half a pair \ud83d", SOME_ID)),
    ("number", forged("x", "title", SOME_ID)),
    ("number", forged(1.5, "title", SOME_ID)),
    ("number", forged(10**30, "title", SOME_ID)),
]


@pytest.mark.parametrize(("order", "cursor"), BAD_CURSORS)
def test_a_cursor_of_another_list_is_refused_by_name(
    client: TestClient, order: str, cursor: str
) -> None:
    response = client.get(f"/notes/{order}", params={"cursor": cursor})

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "cursor"


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_cursor_with_an_extreme_time_does_no_harm(client: TestClient, moment: str) -> None:
    response = client.get("/notes/time", params={"cursor": forged(moment, SOME_ID)})

    assert response.status_code == 200


@asynccontextmanager
async def async_session(database_url: str) -> AsyncIterator[AsyncSession]:
    engine = create_async_engine(database_url.replace("psycopg2", "asyncpg"))
    async with AsyncSession(engine) as session:
        yield session
    await engine.dispose()


@pytest.mark.parametrize("order", ORDERS)
async def test_it_works_in_an_async_session_too(
    database_url: str, sessions: sessionmaker[Session], order: str
) -> None:
    write(sessions, range(7))

    async with async_session(database_url) as session:
        seen = []
        cursor = None
        for _ in range(4):
            page = await session.run_sync(
                paginate, sa.select(Note), PageParameters(limit=2, cursor=cursor), *ORDERS[order]
            )
            seen += [str(note.id) for note in page["items"]]
            cursor = page["next_cursor"]

    assert cursor is None
    assert seen == ordered(sessions, order)


def test_rows_of_several_columns_are_paged_by_their_names(
    sessions: sessionmaker[Session],
) -> None:
    write(sessions, range(3))

    with sessions() as session:
        statement = sa.select(Note.id, Note.title)
        page = paginate(session, statement, PageParameters(limit=2, cursor=None), Note.id)

    assert [row.title for row in page["items"]] == ["Grüße 0", "Grüße 0"]
    assert page["next_cursor"]
