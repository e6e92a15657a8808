"""Live streams of runs: every event arrives, and only those who may see the run read it."""

import threading
import time
from collections.abc import Callable
from typing import Any

from .conftest import Caller, Work

NAP: dict[str, Any] = {"kind": "wait", "with": {"seconds": 9999}}


def test_a_stream_sends_each_event_of_the_history_and_ends_with_the_run(
    starter: Caller, reviewer: Caller, work: Work
) -> None:
    ask = {"kind": "approval", "with": {"assignee_id": f"'{reviewer.user_id}'", "title": "'Well?'"}}
    run = starter.start(starter.publish({"ask": ask}))
    work()
    text: list[str] = []

    def listen() -> None:
        text.append(starter.get(f"/workflows/{run['id']}/stream").text)

    listener = threading.Thread(target=listen)
    listener.start()
    time.sleep(0.5)
    (task,) = reviewer.tasks()
    reviewer.post(f"/tasks/{task['id']}/complete", json={"decision": "approve"})
    work()
    listener.join(20)

    event_types = [
        line.removeprefix("event: ") for line in text[0].splitlines() if "event: " in line
    ]
    ids = [int(line.removeprefix("id: ")) for line in text[0].splitlines() if "id: " in line]
    history = starter.history(run)
    assert event_types == [*(event["type"] for event in history), "end"]
    assert ids == [event["id"] for event in history]
    rest = starter.get(f"/workflows/{run['id']}/stream", headers={"Last-Event-ID": str(ids[-2])})
    assert rest.text.count("event: ") == 2


def test_a_stream_is_for_those_who_may_see_the_run(
    starter: Caller, stranger: Caller, login: Callable[..., Caller]
) -> None:
    run = starter.start(starter.publish({"nap": NAP}))

    codes = [
        caller.get(f"/workflows/{run['id']}/stream").status_code
        for caller in (stranger, login("documents:read"))
    ]

    assert codes == [404, 403]
