"""Steps and definitions that several tests use, and what these look at."""

from datetime import timedelta
from typing import Any

from workflow_service.database import session_maker
from workflow_service.engine.execution import claim_steps, finish_attempts, run_attempt
from workflow_service.neighbours import Neighbours
from workflow_service.steps.protocol import StepAttempt

from .conftest import LEASE, Caller, Work
from .fakes import Platform, problem

TELL: dict[str, Any] = {
    "kind": "communication.notify",
    "with": {"recipient_id": "run.started_by", "subject": "'Hello'", "body": "'You'"},
}


LIST = {"type": "object", "properties": {"items": {"type": "array", "items": {"type": "integer"}}}}


def set_values(**values: Any) -> dict[str, Any]:
    return {"kind": "set", "with": {"values": values}}


def foreach(first: str, limit: int = 10, **more: Any) -> dict[str, Any]:
    return {
        "kind": "foreach",
        "with": {"items": "input.items", "limit": limit},
        "do": first,
        **more,
    }


def build_notice(body: str, **more: Any) -> dict[str, Any]:
    about = {"recipient_id": "run.started_by", "subject": "'S'", "body": f"'{body}'"}
    return {"kind": "communication.notify", "with": about, **more}


def build_undo(body: str) -> dict[str, Any]:
    return {key: value for key, value in build_notice(body).items() if key in ("kind", "with")}


TWO_STEPS = {"one": build_notice("1", next="two"), "two": build_notice("2")}


SAGA = {
    "one": build_notice("1", next="two", undo=build_undo("un1")),
    "two": build_notice("2", next="three", undo=build_undo("un2")),
    "three": build_notice("3", undo=build_undo("un3")),
}


def list_bodies(platform: Platform, person: Caller) -> list[str]:
    return [message["body"] for message in platform.communication.to(person.user_id)]


def refuse_message(platform: Platform, body: str, status: int = 400) -> None:
    """Let communication refuse the notification with this body."""
    marked = f'"{body}"'.encode()
    platform.before = lambda request: (
        problem(status, "No") if marked in request.content.replace(b'": "', b'":"') else None
    )


def post_action(caller: Caller, run: dict[str, Any], verb: str, **body: Any) -> Any:
    return caller.post(f"/workflows/{run['id']}/{verb}", json=body or None)


def get_statuses(caller: Caller, run: dict[str, Any]) -> dict[str, str]:
    return {step["path"]: step["status"] for step in caller.run(run)["steps"]}


def claim_step(neighbours: Neighbours, lease: timedelta = LEASE) -> StepAttempt:
    """Claim the step that is due, as a worker does."""
    with session_maker.begin() as session, session.no_autoflush:
        (attempt,) = claim_steps(session, neighbours, 1, lease)
    return attempt


def finish_step(attempt: StepAttempt) -> None:
    """Perform the attempt and write its result, as a worker does."""
    outcome = run_attempt(attempt)
    with session_maker.begin() as session, session.no_autoflush:
        finish_attempts(session, [(attempt, outcome)])


def build_approval(**given: Any) -> dict[str, Any]:
    """Return a step of a definition; the values are JSON, not expressions."""
    quoted = {name: f"'{v}'" if isinstance(v, str) else v for name, v in given.items()}
    if "assignees" in given:
        quoted["assignees"] = [f"'{user_id}'" for user_id in given["assignees"]]
    return {"kind": "approval", "with": {"title": "'Well?'", **quoted}}


def start_approval(starter: Caller, work: Work, **given: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"document": {"type": "string"}}}
    steps = {"ask": build_approval(**given)}
    output = {"decision": "steps.ask.decision"}
    run = starter.start(starter.publish(steps, input=schema, output=output))
    work()
    return run


def decide(caller: Caller, decision: str = "approve", **more: Any) -> Any:
    """Decide the newest task of the caller."""
    task = caller.tasks()[0]
    return caller.post(f"/tasks/{task['id']}/complete", json={"decision": decision, **more})
