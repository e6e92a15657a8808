"""CEL expressions, compiled once. Users write them, so what one can cost has a limit.

CEL without its loops (map, filter, all, exists): then an expression does no more than its length
allows, and what it makes of strings and lists is limited by counting the signs that make them.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import lark
from celpy import Environment
from celpy.adapter import CELJSONEncoder, json_to_cel
from celpy.celparser import CELParseError
from celpy.evaluation import CELEvalError, base_functions

from chassis.schemas import check_json_object

GLOBAL_NAMES = {"input", "steps", "run"}
ITEM_NAMES = {"item", "index"}  # of foreach
FUNCTIONS = {*base_functions, "has", "dyn"} - {"map", "list"}
MAX_OPERATORS = 20  # of + and comma: each may add a copy of everything there is
MAX_BACKSLASHES = 8  # cel-python's lexer takes twice as long for each one in an unclosed string
MAX_VALUE_CHARACTERS = 200_000  # characters of a value, as JSON
MAX_TOTAL_CHARACTERS = 1_000_000  # characters of all values of a step's input, or of a run's output

Tree = lark.Tree[Any]
Scope = Mapping[str, Any]

environment = Environment()
logging.getLogger("celpy").setLevel(logging.INFO)  # at DEBUG it writes every value into the log


class ExpressionError(Exception):
    """Why an expression has no value, in words for its author."""


@lru_cache(maxsize=4096)
def parse_expression(text: str) -> Tree:
    if text.count("\\") > MAX_BACKSLASHES or text.count("+") + text.count(",") > MAX_OPERATORS:
        raise ExpressionError(
            f"has more than {MAX_BACKSLASHES} backslashes, or {MAX_OPERATORS} of + and comma"
        )
    try:
        return environment.compile(text)
    except CELParseError as error:
        column = error.column if error.column and error.column > 0 else len(text)
        raise ExpressionError(f"is not a CEL expression, at character {column}: {text}") from error


def find_expression_faults(
    text: str, steps: set[str], names: set[str] = GLOBAL_NAMES
) -> Iterator[str]:
    """What is wrong with an expression before it is evaluated; `steps` and `names` it can see."""
    try:
        tree = parse_expression(text)
    except ExpressionError as error:
        yield str(error)
        return
    known = ", ".join(sorted(names))
    for name in sorted(collect_names(tree, "ident", "dot_ident") - names - {*base_functions}):
        yield f"{name} is not known: write {known} or '...' around a text"
    methods = {str(call.children[1]) for call in tree.find_data("member_dot_arg")}
    for name in sorted((collect_names(tree, "ident_arg", "dot_ident_arg") | methods) - FUNCTIONS):
        yield f"there is no function {name}"
    for name in sorted(collect_step_names(tree) - steps):
        yield f"steps.{name} is no step that comes before this one"


def collect_names(tree: Tree, *rules: str) -> set[str]:
    """The name that each node of these rules begins with."""
    return {str(node.children[0]) for rule in rules for node in tree.find_data(rule)}


def collect_step_names(tree: Tree) -> set[str]:
    """`extract` of `steps.extract.text`."""
    nodes = [node.children for node in tree.find_data("member_dot")]
    return {str(name) for source, name in nodes if [*source.scan_values(bool)] == ["steps"]}


def build_scope(**values: Any) -> Scope:
    """What expressions see."""
    try:
        return {name: json_to_cel(value) for name, value in values.items()}
    except ValueError as error:
        raise ExpressionError("the run holds a number beyond 64 bits") from error


def evaluate(text: str, sees: Scope) -> Any:
    """The expression's value as JSON."""
    return json.loads(evaluate_to_json(text, sees))


def evaluate_to_json(text: str, sees: Scope) -> str:
    try:
        found = environment.program(parse_expression(text)).evaluate(dict(sees))
        value = json.dumps(found, cls=CELJSONEncoder, allow_nan=False)
        check_json_object({"value": json.loads(value)})
    except CELEvalError as error:
        # What follows is a dump of everything the expression could see.
        reason = str(error.args[0]).partition(" (in activation")[0]
        raise ExpressionError(f"{text} has no value: {reason}") from error
    except (RecursionError, TypeError, ValueError, LookupError) as error:
        raise ExpressionError(f"{text} cannot be evaluated: {error}") from error
    if len(value) > MAX_VALUE_CHARACTERS:
        raise ExpressionError(f"{text} has a value of more than {MAX_VALUE_CHARACTERS} characters")
    return value


def evaluate_all(value: Any, sees: Scope, place: str) -> Any:
    """A JSON value with each string, which is an expression, replaced by its value."""
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
            raise ExpressionError(
                f"{place}: all values have more than {MAX_TOTAL_CHARACTERS} characters"
            )
        return json.loads(text)

    return evaluate_part(value, place)
