"""CEL expressions: what they can do, what they cannot, and what odd ones cost."""

import time
from contextlib import suppress
from typing import Any

import pytest

from workflow_service.definition.expression_checks import find_expression_faults
from workflow_service.definition.expressions import (
    ExpressionError,
    build_scope,
    evaluate,
    evaluate_all,
)
from workflow_service.definition.value_schemas import OPEN, build_object

NAMES = {
    "input": OPEN,
    "steps": build_object({"review": OPEN, "unknown": OPEN}),
    "run": OPEN,
}
SEES = build_scope(
    input={
        "n": 7,
        "items": [1, 2],
        "text": "word " * 20_000,
        "none": None,
        "deep": {"a": {"b": 1}},
    },
    steps={"review": {"decision": "approve"}},
    run={"id": "r"},
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("input.n + 1", 8),
        ("input.n > 5 && steps.review.decision == 'approve'", True),
        ("'Review: ' + run.id", "Review: r"),
        ("has(steps.unknown) ? steps.unknown.x : 'unknown'", "unknown"),
        ("size(input.items)", 2),
        ("input.items[1]", 2),
        ("input.deep", {"a": {"b": 1}}),
        ("input.none", None),
        ("1.5 * 2.0", 3.0),
        ("string(input.n)", "7"),
        ("'x' in ['x', 'y']", True),
        ("run.id.matches('^r+$')", True),
        ('{"a": [true, null]}', {"a": [True, None]}),
        ("timestamp('2026-01-01T00:00:00Z')", "2026-01-01T00:00:00Z"),
        ("b'bytes'", "Ynl0ZXM="),
    ],
)
def test_expressions_have_json_values(text: str, value: Any) -> None:
    assert list(find_expression_faults(text, NAMES)) == []
    assert evaluate(text, SEES) == value
    assert type(evaluate(text, SEES)) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "1 / 0", "1.0 / 0.0", "input.nothing", "input.items[9]", "'a' + 1", "int('x')",
        "type(1)", "size", "'\\ud800'",
        "'nul\\u0000'", "'\\x00'", "9223372036854775807 + 1", "has()",
        "[" * 100 + "]" * 100, "(" * 200 + "1" + ")" * 200, "string(input.text.matches('('))",
        "input.text + input.text + input.text",
    ],
)  # fmt: skip
def test_an_expression_without_a_value_says_so(text: str) -> None:
    with pytest.raises(ExpressionError) as error:
        evaluate(text, SEES)

    assert len(str(error.value)) < 1000 + len(text)
    assert "word word" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "", "   ", "1 +", "a b", "'open", "\x00", "💥", "__import__('os')", "().__class__",
        "open('/etc/passwd')", "eval('1')", "self", "os.system('x')", "input.map(x, x)",
        "[1].filter(x, true)", "[1].all(x, true)", "[1].exists(x, true)", "[1].reduce(r, i, 0, r)",
        "[2, 1].min()", "google.protobuf.Int32Value{value: 1}", ".os", ".eval(1)", "steps.later.x",
        '"' + "\\a" * 30, "+".join(["input.text"] * 30), ",".join(["[input"] + ["input"] * 30),
        "celpy", "base_functions", "review-requested",
    ],
)  # fmt: skip
def test_odd_expressions_are_refused_before_they_run_and_quickly(text: str) -> None:
    started = time.perf_counter()

    assert list(find_expression_faults(text, NAMES))
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    "text",
    [
        "input.text + input.text + input.text + input.text + input.text + input.text",
        "[[input, input, input, input], [input, input, input, input]]",
        "input.text.matches('(a*)*b') || input.text.matches('(w|wo|o)*$')",
        "[input, input] == [input, input] && [[[input]]] != [[input]]",
    ],
)
def test_costly_expressions_are_over_soon(text: str) -> None:
    started = time.perf_counter()

    with suppress(ExpressionError):
        evaluate(text, SEES)

    assert time.perf_counter() - started < 3


def test_a_number_beyond_64_bits_is_refused() -> None:
    with pytest.raises(ExpressionError, match="64 bits"):
        build_scope(input={"n": 2**64})


def test_every_string_of_a_json_value_is_an_expression_and_the_rest_stays() -> None:
    value = {"a": "input.n", "b": [True, None, 1.5, "'x'"], "c": {"d": "run.id"}}

    assert evaluate_all(value, SEES, "with") == {
        "a": 7, "b": [True, None, 1.5, "x"], "c": {"d": "r"}
    }  # fmt: skip


def test_the_place_of_a_fault_is_named() -> None:
    with pytest.raises(ExpressionError, match=r"^with\.a\.1: input\.nothing has no value"):
        evaluate_all({"a": ["1", "input.nothing"]}, SEES, "with")


def test_many_values_have_a_limit_together() -> None:
    sees = build_scope(input={"text": "x" * 150_000})

    with pytest.raises(ExpressionError, match=r"^with\.6: all values have more than 1000000"):
        evaluate_all(["input.text"] * 10_000, sees, "with")
