"""CEL expressions, compiled once. Users write them, so that their cost has to have a limit.

CEL's loops (map, filter, all, exists) are not allowed: without them the work of an expression is
bounded by its length. How much strings and lists can grow is bounded by the number of operators.
"""

import json
import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import lark
from celpy import Environment
from celpy.adapter import CELJSONEncoder, json_to_cel
from celpy.celparser import CELParseError
from celpy.evaluation import CELEvalError, base_functions

from chassis.schemas import check_json_object

FUNCTIONS = {*base_functions, "has", "dyn"} - {"map", "list"}
MAX_OPERATORS = 20  # + and comma: each may add a copy of all data
MAX_BACKSLASHES = 8  # cel-python's lexer takes twice as long for each one in an unclosed string
MAX_VALUE_CHARACTERS = 200_000  # of the value of one expression, as JSON
MAX_TOTAL_CHARACTERS = 1_000_000  # of all values of a step's input, or of a run's output

Tree = lark.Tree[Any]
Scope = Mapping[str, Any]

environment = Environment()
logging.getLogger("celpy").setLevel(logging.INFO)  # at DEBUG it writes every value into the log


class ExpressionError(Exception):
    """Raised with the reason, in words for the author, when an expression has no value."""


@lru_cache(maxsize=4096)
def parse_expression(text: str) -> Tree:
    if text.count("\\") > MAX_BACKSLASHES or text.count("+") + text.count(",") > MAX_OPERATORS:
        limits = f"{MAX_BACKSLASHES} backslashes, or {MAX_OPERATORS} of + and comma"
        raise ExpressionError(f"has more than {limits}")
    try:
        return environment.compile(text)
    except CELParseError as error:
        column = error.column if error.column and error.column > 0 else len(text)
        raise ExpressionError(f"is not a CEL expression, at character {column}: {text}") from error


def build_scope(**values: Any) -> Scope:
    """Convert the values that expressions see."""
    try:
        return {name: json_to_cel(value) for name, value in values.items()}
    except ValueError as error:
        raise ExpressionError("the run holds a number beyond 64 bits") from error


def evaluate(text: str, sees: Scope) -> Any:
    """Return the value of the expression. Raises ExpressionError."""
    return json.loads(evaluate_to_json(text, sees))


def evaluate_to_json(text: str, sees: Scope) -> str:
    try:
        found = environment.program(parse_expression(text)).evaluate(dict(sees))
        value = json.dumps(found, cls=CELJSONEncoder, allow_nan=False)
        check_json_object({"value": json.loads(value)})
    except CELEvalError as error:
        # The rest of the message is a dump of everything the expression could see.
        reason = str(error.args[0]).partition(" (in activation")[0]
        raise ExpressionError(f"{text} has no value: {reason}") from error
    except (RecursionError, TypeError, ValueError, LookupError) as error:
        raise ExpressionError(f"{text} cannot be evaluated: {error}") from error
    if len(value) > MAX_VALUE_CHARACTERS:
        raise ExpressionError(f"{text} has a value of more than {MAX_VALUE_CHARACTERS} characters")
    return value


def evaluate_all(value: Any, sees: Scope, place: str) -> Any:
    """Replace every string in a JSON value, each of which is an expression, by its value."""
    left = MAX_TOTAL_CHARACTERS

    def evaluate_part(value: Any, place: str) -> Any:
        nonlocal left
        if isinstance(value, dict):
            return {key: evaluate_part(part, f"{place}.{key}") for key, part in value.items()}
        if isinstance(value, list):
            return [evaluate_part(part, f"{place}.{n}") for n, part in enumerate(value)]
        if not isinstance(value, str):
            return value
        try:
            text = evaluate_to_json(value, sees)
        except ExpressionError as error:
            raise ExpressionError(f"{place}: {error}") from error
        left -= len(text)
        if left < 0:
            fault = f"all values have more than {MAX_TOTAL_CHARACTERS} characters"
            raise ExpressionError(f"{place}: {fault}")
        return json.loads(text)

    return evaluate_part(value, place)
