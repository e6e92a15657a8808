"""A definition as a picture, with the status of each step when it is that of a run."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from re import compile

from .definition.model import Definition

StatusCounts = Mapping[str, Counter[str]]  # by step: {"fetch": {"done": 3, "running": 1}}

STATUS_COLOURS = {  # the first status that a step has anywhere decides its colour
    "failed": "#f4b6b6", "running": "#b9d7f5", "pending": "#dde9f5", "held": "#e3d9f2",
    "waiting": "#fbe7ae", "done": "#bfe5c1", "cancelled": "#dddddd", "": "#ffffff",
}  # fmt: skip
FORBIDDEN_IN_XML = compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
BOX_WIDTH = 180
BOX_HEIGHT = 46
GAP_X = 40
GAP_Y = 50


@dataclass(frozen=True)
class Edge:
    source: str
    target: str
    label: str = ""


def list_edges(definition: Definition) -> Iterator[Edge]:
    """Yield the edges to next steps, into branches, and from their ends to what follows."""
    following = definition.get_next_steps()
    for name, step in definition.steps.items():
        for choice in step.choices:
            yield Edge(name, choice.next, choice.when)
        if step.otherwise:
            yield Edge(name, step.otherwise, "otherwise")
        branches = step.get_branch_starts()
        for place, first in branches.items():
            yield Edge(name, first, place.removeprefix("branches."))
            for last in sorted(one for one in definition.get_branch(first) if not following[one]):
                if step.next:
                    yield Edge(last, step.next)
        if step.next and not branches:
            yield Edge(name, step.next)


def get_status(name: str, counts: StatusCounts) -> str:
    of_step = counts.get(name, Counter())
    return next((status for status in STATUS_COLOURS if of_step[status]), "")


def describe_statuses(name: str, counts: StatusCounts) -> str:
    """Return `3 done, 1 running`; the status alone for a step that ran once."""
    of_step = counts.get(name, Counter())
    if sum(of_step.values()) == 1:
        return get_status(name, counts)
    return ", ".join(f"{n} {status}" for status, n in sorted(of_step.items()))


def render_mermaid(definition: Definition, counts: StatusCounts | None = None) -> str:
    counts = counts or {}
    lines = ["flowchart TD"]
    for name, step in definition.steps.items():
        left, right = ("{{", "}}") if step.kind == "branch" else ("[", "]")
        text = "<br/>".join(filter(None, [name, step.kind, describe_statuses(name, counts)]))
        lines.append(f'    s_{name}{left}"{escape_for_mermaid(text)}"{right}')
        if state := get_status(name, counts):
            lines.append(f"    class s_{name} {state}")
    for edge in list_edges(definition):
        label = f'|"{escape_for_mermaid(edge.label)}"|' if edge.label else ""
        lines.append(f"    s_{edge.source} -->{label} s_{edge.target}")
    colours = {state: colour for state, colour in STATUS_COLOURS.items() if state}
    lines += [f"    classDef {state} fill:{colour}" for state, colour in colours.items()]
    return "\n".join(lines) + "\n"


def escape_for_mermaid(text: str) -> str:
    """Replace the signs that Mermaid would read as markup by their numbers."""
    escaped = text.replace("<br/>", "\n")
    for sign in '#%"<>&|`':  # "#" first: it is part of what replaces the others
        escaped = escaped.replace(sign, f"#{ord(sign)};")
    return escaped.replace("\n", "<br/>")


def render_svg(definition: Definition, counts: StatusCounts | None = None) -> str:
    counts = counts or {}
    ways = list(list_edges(definition))
    places = place_boxes(definition, ways)
    width = max(x for x, _ in places.values()) + BOX_WIDTH + GAP_X
    height = max(y for _, y in places.values()) + BOX_HEIGHT + GAP_Y
    body = [render_arrow(edge, places) for edge in ways]
    body += [render_box(name, definition, counts, *places[name]) for name in definition.steps]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="12">'
        '<defs><marker id="end" markerWidth="8" markerHeight="8" refX="8" refY="4" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z"/></marker></defs>' + "".join(body) + "</svg>"
    )


def place_boxes(definition: Definition, ways: list[Edge]) -> dict[str, tuple[int, int]]:
    """Place each step a row below all that lead to it, beside the others of its row."""
    rows = {name: 0 for name in definition.steps}
    for _ in rows:  # the longest way has no more edges than there are steps
        for edge in ways:
            rows[edge.target] = max(rows[edge.target], rows[edge.source] + 1)
    seen: Counter[int] = Counter()
    places = {}
    for name, row in rows.items():
        places[name] = GAP_X + seen[row] * (BOX_WIDTH + GAP_X), GAP_Y + row * (BOX_HEIGHT + GAP_Y)
        seen[row] += 1
    return places


def render_box(name: str, definition: Definition, counts: StatusCounts, x: int, y: int) -> str:
    colour = STATUS_COLOURS[get_status(name, counts)]
    middle = x + BOX_WIDTH // 2
    about = " · ".join(filter(None, [definition.steps[name].kind, describe_statuses(name, counts)]))
    return (
        f'<g id="step-{name}" class="{get_status(name, counts)}"><rect x="{x}" y="{y}" rx="6" '
        f'width="{BOX_WIDTH}" height="{BOX_HEIGHT}" fill="{colour}" stroke="#555"/>'
        f'<text x="{middle}" y="{y + 20}" text-anchor="middle">{escape(name)}</text>'
        f'<text x="{middle}" y="{y + 36}" text-anchor="middle" fill="#555">{escape(about)}</text>'
        "</g>"
    )


def render_arrow(edge: Edge, places: Mapping[str, tuple[int, int]]) -> str:
    source_x, source_y = places[edge.source]
    target_x, y2 = places[edge.target]
    x1 = source_x + BOX_WIDTH // 2
    x2 = target_x + BOX_WIDTH // 2
    y1 = source_y + BOX_HEIGHT
    label = escape(FORBIDDEN_IN_XML.sub("", edge.label)[:40])
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#555" marker-end="url(#end)"/>'
        f'<text x="{(x1 + x2) // 2 + 4}" y="{(y1 + y2) // 2}" fill="#555">{label}</text>'
    )
