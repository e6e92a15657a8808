"""What is wrong with an expression, and what is known of its value, before a run evaluates it."""

from collections.abc import Iterator, Mapping

import lark
from celpy.evaluation import base_functions

from .expressions import FUNCTIONS, ExpressionError, Tree, evaluate, parse_expression
from .value_schemas import OPEN, Schema, find_member, list_members, suggest, suggest_or_list

Names = Mapping[str, Schema]  # what an expression sees: `input`, `steps` ...
AccessPath = list[str | int | None]  # None: an index that only a run knows

NAMES = {"ident", "dot_ident"}
MEMBERS = {"member_dot", "member_index"}
WRAPPERS = {
    "expr", "conditionalor", "conditionaland", "relation", "addition", "multiplication", "unary",
    "member", "primary", "paren_expr",
}  # fmt: skip


def find_expression_faults(text: str, names: Names) -> Iterator[str]:
    """Find what is wrong with an expression that can see these names."""
    try:
        tree = parse_expression(text)
    except ExpressionError as error:
        yield str(error)
        return
    instead = f": write {', '.join(sorted(names))} or '...' around a text"
    for name in sorted(collect_names(tree, *NAMES) - {*names, *base_functions}):
        yield f"{name} is not known{suggest(name, names) or instead}"
    methods = {str(call.children[1]) for call in tree.find_data("member_dot_arg")}
    for name in sorted((collect_names(tree, "ident_arg", "dot_ident_arg") | methods) - FUNCTIONS):
        yield f"there is no function {name}{suggest(name, sorted(FUNCTIONS)) or ''}"
    for path in find_access_paths(tree):
        yield from find_path_fault(path, names)


def infer_schema(text: str, names: Names) -> Schema:
    """Return what is known of the value of an expression that reads a value and does no more."""
    try:
        node = unwrap(parse_expression(text))
    except ExpressionError:
        return OPEN
    schema: Schema | None = OPEN
    if node.data in NAMES | MEMBERS:
        (name, *members) = next(find_access_paths(node), [None])
        schema = names.get(str(name), OPEN)
        for member in members:
            schema = find_member(schema, member) if schema is not None else None
    return OPEN if schema is None else schema


def collect_names(tree: Tree, *rules: str) -> set[str]:
    """Return the first name in each node of these rules."""
    return {str(node.children[0]) for rule in rules for node in tree.find_data(rule)}


def find_access_paths(tree: Tree) -> Iterator[AccessPath]:
    """Yield what the expression reads: ["steps", "extract", "text"] for `steps.extract.text`."""
    seen: set[int] = set()
    for node in tree.iter_subtrees_topdown():  # type: ignore[no-untyped-call]
        if node.data not in MEMBERS or id(node) in seen:
            continue
        path: AccessPath = []
        while node.data in MEMBERS:
            seen.add(id(node))
            source, member = node.children
            path.append(str(member) if node.data == "member_dot" else read_index(member))
            node = unwrap(source)
        if node.data in NAMES:
            yield [str(node.children[0]), *reversed(path)]


def unwrap(node: Tree) -> Tree:
    """Skip the nodes around another one that change nothing, such as parentheses."""
    while node.data in WRAPPERS and len(node.children) == 1:
        node = node.children[0]
    return node


def read_index(node: Tree) -> str | int | None:
    """Return the value of a literal index, which is used like a name: `steps['extract']`."""
    literal = unwrap(node)
    if literal.data != "literal" or not isinstance(literal.children[0], lark.Token):
        return None
    try:
        value = evaluate(literal.children[0], {})
    except ExpressionError:
        return None
    return value if isinstance(value, str | int) else None


def find_path_fault(path: AccessPath, names: Names) -> Iterator[str]:
    place = str(path[0])
    schema = names.get(place, OPEN)
    for name in path[1:]:
        member = find_member(schema, name)
        if member is None:
            yield describe_missing(place, str(name), list_members(schema))
            return
        schema = member
        place += f".{name}" if isinstance(name, str) else f"[{'...' if name is None else name}]"


def describe_missing(place: str, name: str, known: list[str]) -> str:
    if place == "steps":
        fault = f"steps.{name[:100]} is no step that comes before this one"
        return fault + suggest_or_list(name, known, "these do")
    if not known:
        return f"{place} has no {name[:100]}"
    return f"{place} has no {name[:100]}" + suggest_or_list(name, known, "it has")
