"""Expressions in inputs, conditions and outputs, as a run meets them."""

from .conftest import Caller, Work
from .steps import TELL

OPTIONAL = {"type": "object", "properties": {"missing": {"type": "integer"}}}


def test_an_input_that_cannot_be_worked_out_fails_the_run_with_the_place(
    starter: Caller, work: Work
) -> None:
    steps = {"tell": TELL | {"with": TELL["with"] | {"body": "input.missing"}}}
    run = starter.start(starter.publish(steps, input=OPTIONAL))

    failed = starter.run(run)

    assert failed["status"] == "failed"
    assert failed["error"].startswith("tell: steps.tell.with.body: input.missing has no value")


def test_an_input_of_the_wrong_type_fails_the_step_with_the_field(
    starter: Caller, work: Work
) -> None:
    steps = {"tell": TELL | {"with": TELL["with"] | {"recipient_id": "'unknown'"}}}
    run = starter.start(starter.publish(steps))

    work()

    assert starter.run(run)["error"].startswith("tell: with.recipient_id: Input should be a valid")


def test_a_condition_without_a_value_fails_the_branch(starter: Caller, work: Work) -> None:
    fork = {"kind": "branch", "choices": [{"when": "input.missing == 1", "next": "tell"}]}
    run = starter.start(starter.publish({"fork": fork, "tell": TELL}, input=OPTIONAL))

    work()

    assert starter.run(run)["error"].startswith("fork: input.missing == 1 has no value")


def test_an_output_without_a_value_fails_the_run(starter: Caller, work: Work) -> None:
    run = starter.start(
        starter.publish({"tell": TELL}, output={"n": "input.missing"}, input=OPTIONAL)
    )

    work()

    assert starter.run(run)["error"].startswith("output.n: input.missing has no value")


def test_a_branch_takes_the_first_choice_that_is_true(starter: Caller, work: Work) -> None:
    fork = {
        "kind": "branch",
        "choices": [
            {"when": "input.n > 10", "next": "big"},
            {"when": "input.n > 5", "next": "middle"},
        ],
        "otherwise": "small",
    }
    steps = {"fork": fork, "big": TELL, "middle": TELL, "small": TELL}
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    name = starter.publish(steps, input=schema)
    runs = {n: starter.start(name, n=n) for n in (11, 10, 5)}

    work()

    taken = {n: starter.run(run)["steps"][1]["name"] for n, run in runs.items()}
    assert taken == {11: "big", 10: "middle", 5: "small"}


def test_a_run_stays_with_the_version_it_was_started_with(
    starter: Caller, reviewer: Caller, work: Work
) -> None:
    ask = {"kind": "approval", "with": {"assignee_id": f"'{reviewer.user_id}'", "title": "'Well?'"}}
    name = starter.publish({"ask": ask}, output={"version": "1"})
    run = starter.start(name)
    work()
    new = {"title": "Test", "start": "ask", "steps": {"ask": ask}, "output": {"version": "2"}}
    assert starter.put(f"/definitions/{name}", json=new).json()["version"] == 2

    (task,) = reviewer.tasks()
    reviewer.post(f"/tasks/{task['id']}/complete", json={"decision": "approve"})
    work()

    assert starter.run(run)["output"] == {"version": 1}
    assert starter.start(name)["version"] == 2


def test_a_condition_that_is_no_condition_fails_the_branch(starter: Caller, work: Work) -> None:
    fork = {"kind": "branch", "choices": [{"when": "'yes'", "next": "tell"}]}
    run = starter.start(starter.publish({"fork": fork, "tell": TELL}))

    work()

    assert starter.run(run)["error"] == "fork: 'yes' is neither true nor false"
