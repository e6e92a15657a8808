"""The running app, people to call it as, neighbours that work, and the worker's work on demand."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from chassis.job_queue import PENDING, RUNNING
from chassis.remote_auth import ServiceAccount
from tools.localdev.fake_identity import FakeIdentity
from workflow_service.database import session_maker
from workflow_service.engine.statuses import HELD, WAITING
from workflow_service.engine.worker import Worker
from workflow_service.main import app
from workflow_service.models import WORK, Event, Run, Step, Task
from workflow_service.neighbours import Neighbours, create_neighbours
from workflow_service.settings import settings

MEMBER = ("workflows:start", "workflows:read", "ai:use", "definitions:read")
EDITOR = (*MEMBER, "definitions:write")
OUTSIDE = "127.0.0.2"
LEASE = timedelta(seconds=30)

Work = Callable[[], None]
"""What the workers do, here and now, until nothing is left to do."""

PROSE = (
    "The mill race feeds the old wheel. The wheel has not turned since the flood of 1998."
    " Closing the mill race saves the town the yearly repair of the sluice."
    " Some residents like the sound of the water."
    " The sluice of the mill race was repaired four times in ten years."
    " The council is asked to close the mill race and to keep the wheel as a monument."
    " A footpath could follow the dry bed of the race."
)


@dataclass
class FakeContent:
    """Documents in memory. `pace` is how many questions a document is not yet processed for."""

    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    levels: dict[tuple[str, str], str] = field(default_factory=dict)  # by document and person
    asked: dict[str, int] = field(default_factory=dict)
    pace: int = 2
    broken: set[str] = field(default_factory=set)

    def add(self, owner_id: str, body: str | None = PROSE, title: str = "Closing the mill") -> str:
        document_id = str(uuid4())
        self.documents[document_id] = {
            "id": document_id,
            "owner_id": owner_id,
            "title": title,
            "content_type": "text/plain",
            "filename": None,
            "size": len(body or ""),
            "sha256": "0" * 64,
            "version": 1,
            "tags": [],
            "body": body,
        }
        self.levels[document_id, owner_id] = "manage"
        return document_id

    def answer(self, request: httpx.Request, user_id: str) -> httpx.Response:
        _, document_id, *rest = request.url.path.removeprefix("/api/v1/").split("/")
        document = self.documents.get(document_id)
        if document is None or (document_id, user_id) not in self.levels:
            return problem(404, "There is no such document")
        match request.method, rest:
            case "GET", []:
                return httpx.Response(200, json=document)
            case "POST", ["process"]:
                self.asked[document_id] = 0
                return httpx.Response(202, json=self.processing(document))
            case "GET", ["processing"]:
                if document_id not in self.asked:
                    return problem(404, "Nobody asked for this document's text yet")
                self.asked[document_id] += 1
                return httpx.Response(200, json=self.processing(document))
            case "GET", ["permissions", "effective"]:
                level = self.levels.get((document_id, request.url.params["user"]))
                return httpx.Response(200, json={"user_id": user_id, "level": level})
            case "PUT", ["permissions", person]:
                self.levels[document_id, person] = json.loads(request.content)["level"]
                return httpx.Response(200, json={})
        return problem(405, "Not here")

    def processing(self, document: dict[str, Any]) -> dict[str, Any]:
        is_broken = document["id"] in self.broken
        ready = self.asked[document["id"]] >= self.pace
        text = (document["body"] or PROSE) if ready and not is_broken else None
        return {
            "document_id": document["id"],
            "version": document["version"],
            "status": "failed" if is_broken else "done" if ready else "running",
            "error": "the file is damaged" if is_broken else None,
            "text": text,
            "word_count": len(text.split()) if text else None,
            "page_count": 1,
            "sha256": document["sha256"],
        }


@dataclass
class FakeCommunication:
    """Notifications in memory; a known key gets the known answer, as from the real service."""

    sent: dict[str, dict[str, Any]] = field(default_factory=dict)  # by idempotency key

    def answer(self, request: httpx.Request, user_id: str) -> httpx.Response:
        new = json.loads(request.content)
        key = request.headers["Idempotency-Key"]
        known = self.sent.get(key)
        if known and known["request"] != new:
            return problem(422, "This Idempotency-Key came before, with another request")
        self.sent.setdefault(key, {"id": str(uuid4()), "sender_id": user_id, "request": new,
                                   "trace_id": request.headers["X-Trace-ID"]})  # fmt: skip
        return httpx.Response(202, json={"id": self.sent[key]["id"], "status": "queued"})

    def to(self, user_id: str) -> list[dict[str, Any]]:
        return [n["request"] for n in self.sent.values() if n["request"]["recipient_id"] == user_id]


@dataclass
class Platform(httpx.AsyncBaseTransport):
    """The neighbours behind one transport. `before` may refuse a call, or do something first."""

    identity: FakeIdentity = field(default_factory=FakeIdentity)
    content: FakeContent = field(default_factory=FakeContent)
    communication: FakeCommunication = field(default_factory=FakeCommunication)
    before: Callable[[httpx.Request], httpx.Response | None] = lambda _: None
    calls: list[httpx.Request] = field(default_factory=list)
    users: list[dict[str, Any]] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        if host == "identity-service" and request.url.path == "/api/v1/users":
            role = request.url.params["role"]
            found = [user for user in self.users if role in user["roles"]]
            return httpx.Response(200, json={"items": found, "next_cursor": None})
        if host == "identity-service":
            return await self.identity.handle_async_request(request)
        if request.url.path == "/health/live":
            return httpx.Response(200, json={})
        self.calls.append(request)
        if refused := await asyncio.to_thread(self.before, request):
            return refused
        token = request.headers["Authorization"].removeprefix("Bearer ")
        if token not in self.identity.answers:
            return problem(401, "Invalid or expired token")
        user_id = self.identity.answers[token]["user_id"]
        neighbour = self.content if host == "content-service" else self.communication
        return neighbour.answer(request, user_id)


def problem(status: int, detail: str) -> httpx.Response:
    return httpx.Response(status, json={"detail": detail})


class Caller(TestClient):
    """A person at the API: paths start after /api/v1."""

    user_id: str

    def publish(self, steps: dict[str, Any], **fields: Any) -> str:
        """A definition of its own, started at its first step; its name."""
        name = f"d-{uuid4().hex}"
        new = {"name": name, "title": "Test", "start": next(iter(steps)), "steps": steps, **fields}
        response = self.post("/definitions", json=new)
        assert response.status_code == 201, response.text
        return name

    def start(self, definition: str, **given: Any) -> dict[str, Any]:
        response = self.post("/workflows", json={"definition": definition, "input": given})
        assert response.status_code == 201, response.text
        return dict(response.json())

    def run(self, run: dict[str, Any]) -> dict[str, Any]:
        response = self.get(f"/workflows/{run['id']}")
        assert response.status_code == 200, response.text
        return dict(response.json())

    def history(self, run: dict[str, Any]) -> list[dict[str, Any]]:
        """From its beginning."""
        items, cursor = list[dict[str, Any]](), ""
        while cursor is not None:
            path = f"/workflows/{run['id']}/history?limit=100&cursor={cursor}"
            page = self.get(path).json()
            items, cursor = items + page["items"], page["next_cursor"]
        return items

    def tasks(self) -> list[dict[str, Any]]:
        return list(self.get("/tasks").json()["items"])


@pytest.fixture(scope="session", autouse=True)
def database(migrated: Callable[[str], None]) -> None:
    migrated("workflow-service")


@pytest.fixture(scope="session")
def the_platform() -> Platform:
    return Platform()


@pytest.fixture
def platform(the_platform: Platform) -> Iterator[Platform]:
    yield the_platform
    the_platform.before = lambda _: None


@pytest.fixture(scope="module")
def client(database: None, the_platform: Platform) -> Iterator[TestClient]:
    """The app, started once; nobody is logged in."""
    app.state.transport = the_platform
    with TestClient(app, base_url="http://testserver/api/v1") as client:
        yield client


@pytest.fixture
def login(client: TestClient, platform: Platform) -> Callable[..., Caller]:
    def login(*permissions: str, **person: Any) -> Caller:
        found = platform.identity.add_person(*(permissions or MEMBER), **person)
        caller = Caller(app, base_url=str(client.base_url), headers=found.headers)
        caller.user_id = found.user_id
        caller.portal = client.portal  # the event loop the app was started in
        return caller

    return login


@pytest.fixture
def starter(login: Callable[..., Caller]) -> Caller:
    return login(*EDITOR)


@pytest.fixture
def reviewer(login: Callable[..., Caller]) -> Caller:
    return login()


@pytest.fixture
def stranger(login: Callable[..., Caller]) -> Caller:
    """May do everything with workflows, and has nothing to do with any."""
    return login(*EDITOR)


@pytest.fixture
def neighbours(platform: Platform) -> Neighbours:
    allowing = settings.model_copy(update={"http_allow_hosts": (OUTSIDE,)})
    return create_neighbours(allowing, ServiceAccount(settings, platform), platform)


@dataclass
class Web:
    """A server outside of the platform: what it answers in turn, the last for ever; who asked."""

    url: str
    answers: list[tuple[int, dict[str, str], bytes]]
    asked: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def web() -> Callable[..., AbstractContextManager[Web]]:
    """`with web((200, {}, b"Hello")) as server:` is at an address that HTTP_ALLOW_HOSTS lets in."""

    @contextmanager
    def web(*answers: tuple[int, dict[str, str], bytes]) -> Iterator[Web]:
        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                here.asked.append((f"{self.command} {self.path}", headers, body))
                status, given, content = here.answers[0]
                here.answers = here.answers[1:] or here.answers
                self.send_response(status)
                for header in (given | {"Content-Length": str(len(content))}).items():
                    self.send_header(*header)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, *_: Any) -> None:
                """Not a line per request."""

        server = ThreadingHTTPServer((OUTSIDE, 0), Handler)
        here = Web(f"http://{OUTSIDE}:{server.server_port}", list(answers))
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield here
        server.shutdown()
        server.server_close()

    return web


@pytest.fixture
def worker(neighbours: Neighbours) -> Worker:
    return new_worker(neighbours)


def new_worker(neighbours: Neighbours, **more: Any) -> Worker:
    about: dict[str, Any] = {
        "lease": LEASE,
        "timeout": 20,
        "concurrency": 8,
        "idle_timeout": 0,
        **more,
    }
    return Worker(session_maker, neighbours, **about)


@pytest.fixture
def work(worker: Worker) -> Work:
    def work() -> None:
        worker.work()
        while due_now():
            worker.work()

    return work


def due_now() -> int:
    """Cuts short every pause, but not a wait; how many steps are to be done."""
    pending = update(Step).where(Step.status == PENDING).values(run_at=Step.created_at)
    with session_maker.begin() as session:
        return len(session.scalars(pending.returning(Step.id)).all())


def long_after(**names: Any) -> None:
    """The time of waiting steps has come: all those with these columns."""
    waiting = update(Step).where(Step.status == WAITING).filter_by(**names)
    past = {"run_at": Step.created_at, "created_at": Step.created_at - timedelta(days=400)}
    with session_maker.begin() as session:
        assert session.scalars(waiting.values(**past).returning(Step.id)).all()


@pytest.fixture(autouse=True)
def history_tells_the_state(database: None) -> Iterator[None]:
    """After every test: the state of each run that moved, rebuilt from its history alone."""
    with session_maker() as session:
        newest = session.scalar(select(func.max(Event.id))) or 0
    yield
    with session_maker() as session:
        for run_id in session.scalars(select(Event.run_id).where(Event.id > newest).distinct()):
            events = select(Event).where(Event.run_id == run_id).order_by(Event.id)
            assert rebuilt(session.scalars(events)) == recorded(session, run_id)
    with session_maker.begin() as session:  # the next test begins with an empty queue
        unfinished = update(Step).where(Step.status.in_((PENDING, RUNNING, WAITING, HELD)))
        session.execute(unfinished.values(status="set aside"))
        session.execute(update(Run).values(due_at=None))
        session.execute(update(Step).values(due_at=None))


State = dict[str, dict[str, Any]]


def rebuilt(events: Iterable[Event]) -> State:
    """What the lines of history say: the run, its steps and its tasks, by their ids."""
    state: State = {"run": {}}
    for event in events:
        noun, _, what = event.type.partition(".")
        data = dict(event.data)
        if noun == "run":
            told_of_run(state["run"], what, data)
        elif noun == "task":
            told_of_task(state, data.pop("task_id"), what, data, event.actor_id)
            asks = {"status": "waiting", "error": None} if what == "opened" else {}
            state[str(event.step_id)] |= asks
        elif noun == "step":
            row = state.setdefault(
                str(event.step_id), {"path": event.step, "role": data.get("role", WORK)}
            )
            row |= {"attempts": event.attempt} if what == "started" else {}
            told_of_step(row, what, data)
    return {key: without_none(row) for key, row in state.items()}


def told_of_run(run: dict[str, Any], what: str, data: dict[str, Any]) -> None:
    if what == "started":
        run |= {"status": "running", **data}
    elif what == "budget_raised":
        run |= data
    else:
        run |= {"status": what, **data}
        run.pop("ends_as", None)


def told_of_step(step: dict[str, Any], what: str, data: dict[str, Any]) -> None:
    states = {
        "started": "running", "fanned_out": "waiting", "child_started": "waiting", "held": "held",
        "resumed": "pending", "cancelled": "cancelled", "done": "done", "failed": "failed",
    }  # fmt: skip
    data = {key: data[key] for key in ("status", "input", "output", "error") if key in data}
    if what in states or what in ("ready", "copied", "rescheduled", "retrying"):
        step |= {"error": None} if what in ("done", "fanned_out", "child_started") else {}
        step |= {"status": states.get(what), **data} if what in states else data


def told_of_task(
    state: State, task_id: str, what: str, data: dict[str, Any], by: str | None
) -> None:
    if what == "opened":
        state[task_id] = {"status": "open", **data}
    else:
        state[task_id] |= {"status": what, "decided_by": by, **data}


def recorded(session: Session, run_id: UUID) -> State:
    run = session.get_one(Run, run_id)
    about = ("status", "definition", "version", "input", "output", "error", "budget_usd")
    state: State = {"run": shown(run, *about)}
    state["run"] |= {"retry_of": str(run.retry_of)} if run.retry_of else {}
    for step in session.scalars(select(Step).where(Step.run_id == run_id)):
        row = shown(step, "path", "role", "status", "input", "output", error="last_error")
        state[str(step.id)] = row
    fields = ("purpose", "title", "subject", "seen", "assignee_id", "role", "needed",
              "status", "decision", "comment", "reason", "decided_by")  # fmt: skip
    for task in session.scalars(select(Task).where(Task.workflow_id == run_id)):
        state[str(task.id)] = shown(task, *fields)
    return state


def without_none(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None and name != "attempts"}


def shown(row: Any, *names: str, **renamed: str) -> dict[str, Any]:
    columns = {name: name for name in names} | renamed
    return without_none({name: getattr(row, column) for name, column in columns.items()})
