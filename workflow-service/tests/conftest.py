"""The running app, users who call it, working neighbours, and a worker that works on demand."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from jsonschema import validate
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from chassis.job_queue import PENDING, RUNNING
from chassis.remote_auth import ServiceAccount
from workflow_service.database import session_maker
from workflow_service.engine.statuses import HELD, WAITING
from workflow_service.engine.transaction import get_definition
from workflow_service.engine.worker import Worker
from workflow_service.known_values import KnownValues
from workflow_service.main import app
from workflow_service.models import WORK, Event, Run, Step, Task
from workflow_service.neighbours import Neighbours, create_neighbours
from workflow_service.settings import settings

from .fakes import Platform
from .web_server import ADDRESS, WebServer, serve_web

MEMBER = ("workflows:start", "workflows:read", "ai:use", "definitions:read")
EDITOR = (*MEMBER, "definitions:write")
LEASE = timedelta(seconds=30)

Work = Callable[[], None]
"""Performs all due steps at once, until none is left."""


class Caller(TestClient):
    """Calls the API as one user; paths start after /api/v1."""

    user_id: str

    def publish(self, steps: dict[str, Any], **fields: Any) -> str:
        """Publishes a definition that starts at its first step; returns its name."""
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
        """Returns all events of a run, oldest first."""
        items: list[dict[str, Any]] = []
        cursor = ""
        while cursor is not None:
            path = f"/workflows/{run['id']}/history?limit=100&cursor={cursor}"
            page = self.get(path).json()
            items += page["items"]
            cursor = page["next_cursor"]
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
    """The running app, without a logged-in user."""
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
    """A user with all permissions for workflows, but without any of their own."""
    return login(*EDITOR)


@pytest.fixture
def neighbours(platform: Platform) -> Neighbours:
    allowing = settings.model_copy(update={"http_allow_hosts": (ADDRESS,)})
    return create_neighbours(allowing, ServiceAccount(settings, platform), platform)


@pytest.fixture
def web() -> Callable[..., AbstractContextManager[WebServer]]:
    """Use as `with web((200, {}, b"Hello")) as server:`; HTTP_ALLOW_HOSTS permits its address."""
    return serve_web


@pytest.fixture
def worker(neighbours: Neighbours) -> Worker:
    return create_worker(neighbours)


def create_worker(neighbours: Neighbours, **more: Any) -> Worker:
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
        while make_pending_steps_due():
            worker.work()

    return work


def make_pending_steps_due() -> int:
    """Ends the delays of all pending steps, not of waiting ones; returns how many there are."""
    pending = update(Step).where(Step.status == PENDING).values(run_at=Step.created_at)
    with session_maker.begin() as session:
        return len(session.scalars(pending.returning(Step.id)).all())


def make_waiting_steps_due(**names: Any) -> None:
    """Makes the waiting steps with these column values due, as after a long time."""
    waiting = update(Step).where(Step.status == WAITING).filter_by(**names)
    past = {"run_at": Step.created_at, "created_at": Step.created_at - timedelta(days=400)}
    with session_maker.begin() as session:
        assert session.scalars(waiting.values(**past).returning(Step.id)).all()


@pytest.fixture(autouse=True)
def check_history_rebuilds_state(database: None) -> Iterator[None]:
    """Compares, after every test, each changed run with the state rebuilt from its history."""
    with session_maker() as session:
        newest = session.scalar(select(func.max(Event.id))) or 0
    yield
    with session_maker() as session:
        for run_id in session.scalars(select(Event.run_id).where(Event.id > newest).distinct()):
            events = select(Event).where(Event.run_id == run_id).order_by(Event.id)
            assert rebuild_state(session.scalars(events)) == read_state(session, run_id)
            check_outputs_are_as_declared(session, run_id)
    with session_maker.begin() as session:  # the next test begins with an empty queue
        unfinished = update(Step).where(Step.status.in_((PENDING, RUNNING, WAITING, HELD)))
        session.execute(unfinished.values(status="set aside"))
        for table in (Run, Step):  # only these rows: the tests before have left thousands
            timed = update(table).where(table.due_at.is_not(None))
            session.execute(timed.values(due_at=None))


def check_outputs_are_as_declared(session: Session, run_id: UUID) -> None:
    """Compares what steps have returned with what publishing a definition knows of it."""
    run = session.get_one(Run, run_id)
    if not run.published.content:  # a test has replaced it
        return
    known = KnownValues(get_definition(run)).outputs
    for step in session.scalars(select(Step).filter_by(run_id=run_id, role=WORK)):
        if step.output is not None:
            validate(step.output, known[step.name])


State = dict[str, dict[str, Any]]


def rebuild_state(events: Iterable[Event]) -> State:
    """Rebuilds the run, its steps and its tasks, by id, from their events."""
    state: State = {"run": {}}
    for event in events:
        noun, _, what = event.type.partition(".")
        data = dict(event.data)
        if noun == "run":
            apply_run_event(state["run"], what, data)
        elif noun == "task":
            apply_task_event(state, data.pop("task_id"), what, data, event.actor_id)
            asks = {"status": "waiting", "error": None} if what == "opened" else {}
            state[str(event.step_id)] |= asks
        elif noun == "step":
            row = state.setdefault(
                str(event.step_id), {"path": event.step, "role": data.get("role", WORK)}
            )
            row |= {"attempts": event.attempt} if what == "started" else {}
            apply_step_event(row, what, data)
    return {key: drop_none(row) for key, row in state.items()}


def apply_run_event(run: dict[str, Any], what: str, data: dict[str, Any]) -> None:
    if what == "started":
        run |= {"status": "running", **data}
    elif what == "budget_raised":
        run |= data
    else:
        run |= {"status": what, **data}
        run.pop("ends_as", None)


def apply_step_event(step: dict[str, Any], what: str, data: dict[str, Any]) -> None:
    states = {
        "started": "running", "fanned_out": "waiting", "child_started": "waiting", "held": "held",
        "resumed": "pending", "cancelled": "cancelled", "done": "done", "failed": "failed",
    }  # fmt: skip
    data = {key: data[key] for key in ("status", "input", "output", "error") if key in data}
    if what in states or what in ("ready", "copied", "rescheduled", "retrying"):
        step |= {"error": None} if what in ("done", "fanned_out", "child_started") else {}
        step |= {"status": states.get(what), **data} if what in states else data


def apply_task_event(
    state: State, task_id: str, what: str, data: dict[str, Any], by: str | None
) -> None:
    if what == "opened":
        state[task_id] = {"status": "open", **data}
    else:
        state[task_id] |= {"status": what, "decided_by": by, **data}


def read_state(session: Session, run_id: UUID) -> State:
    run = session.get_one(Run, run_id)
    about = ("status", "definition", "version", "input", "output", "error", "budget_usd")
    state: State = {"run": select_columns(run, *about)}
    state["run"] |= {"retry_of": str(run.retry_of)} if run.retry_of else {}
    for step in session.scalars(select(Step).where(Step.run_id == run_id)):
        row = select_columns(step, "path", "role", "status", "input", "output", error="last_error")
        state[str(step.id)] = row
    fields = ("purpose", "title", "subject", "seen", "assignee_id", "role", "needed",
              "status", "decision", "comment", "reason", "decided_by")  # fmt: skip
    for task in session.scalars(select(Task).where(Task.workflow_id == run_id)):
        state[str(task.id)] = select_columns(task, *fields)
    return state


def drop_none(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None and name != "attempts"}


def select_columns(row: Any, *names: str, **renamed: str) -> dict[str, Any]:
    columns = {name: name for name in names} | renamed
    return drop_none({name: getattr(row, column) for name, column in columns.items()})
