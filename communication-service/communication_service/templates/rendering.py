"""Renders templates with a restricted Jinja2.

A template may output values, branch, loop over a given list and use the filters below. It cannot
call, calculate, define or include. An attribute is always a key of the data, so no Python object
is reachable. Rendering stops at a maximum size and time.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from time import monotonic
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, UndefinedError, nodes
from jinja2.meta import find_undeclared_variables
from jinja2.runtime import LoopContext
from jinja2.sandbox import SandboxedEnvironment

from chassis.errors import Unprocessable

from ..models import Content
from ..schemas.templates import RenderedText, TemplateParts

MAX_RENDERED_CHARACTERS = 500_000
MAX_RENDER_SECONDS = 1.0
MAX_TEMPLATE_NODES = 5_000
MAX_SUBJECT_CHARACTERS = 300

ALLOWED_NODES = (
    nodes.And, nodes.Compare, nodes.CondExpr, nodes.Const, nodes.Filter, nodes.For, nodes.Getattr,
    nodes.Getitem, nodes.If, nodes.Keyword, nodes.List, nodes.Name, nodes.Not, nodes.Operand,
    nodes.Or, nodes.Output, nodes.TemplateData, nodes.Test, nodes.Tuple,
)  # fmt: skip
ALLOWED_FILTERS = (
    "capitalize", "default", "escape", "first", "int", "last", "length", "lower", "title", "trim",
    "truncate", "upper",
)  # fmt: skip


class BadTemplate(Unprocessable):
    """Raised when a template is wrong; `errors` names the part."""


class BadVariables(Unprocessable):
    """Raised when a template uses a variable that was not given."""


class RenderBudget:
    """Limits size and time, for all parts of a template in all languages together."""

    def __init__(self) -> None:
        self._characters = MAX_RENDERED_CHARACTERS
        self._deadline = monotonic() + MAX_RENDER_SECONDS

    def spend_on(self, chunks: Iterable[str]) -> Iterator[str]:
        for chunk in chunks:
            self._characters -= len(chunk)
            if self._characters < 0 or monotonic() > self._deadline:
                raise ValueError("it becomes too large or takes too long")
            yield chunk


class DataOnlyEnvironment(SandboxedEnvironment):
    def __init__(self, *, autoescape: bool) -> None:
        super().__init__(autoescape=autoescape, undefined=StrictUndefined)
        self.globals.clear()
        self.filters = {name: self.filters[name] for name in ALLOWED_FILTERS}
        self.filters["round"] = lambda value, digits=0: round(float(value), digits)

    def getitem(self, obj: Any, argument: Any) -> Any:
        try:
            return obj[argument]
        except (TypeError, LookupError):
            return self.undefined(obj=obj, name=argument)

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, LoopContext):  # loop.index, loop.last
            return super().getattr(obj, attribute)
        return self.getitem(obj, attribute)


TEXT_ENVIRONMENT = DataOnlyEnvironment(autoescape=False)
HTML_ENVIRONMENT = DataOnlyEnvironment(autoescape=True)


def check_parts(parts: Content | TemplateParts, declared_names: set[str] | None = None) -> None:
    """Raises BadTemplate, which names the part and the line, or an undeclared variable."""
    for part, source in list_sources(parts):
        compile_part(part, source)
        if declared_names is None:
            continue
        if unknown := find_undeclared_variables(TEXT_ENVIRONMENT.parse(source)) - declared_names:
            names = ", ".join(sorted(unknown))
            raise BadTemplate.for_field(part, f"uses undeclared variables: {names}")


def render_parts(
    parts: Content | TemplateParts, variables: Mapping[str, Any], budget: RenderBudget
) -> RenderedText:
    """Raises BadTemplate, or BadVariables, which names the missing variable."""
    sources = list_sources(parts)
    rendered = {part: render_part(part, text, variables, budget) for part, text in sources}
    # A subject is one line of an email's header, whatever the variables contain.
    rendered["subject"] = " ".join(rendered["subject"].split())[:MAX_SUBJECT_CHARACTERS]
    return RenderedText(**rendered)


def list_sources(parts: Content | TemplateParts) -> Iterator[tuple[str, str]]:
    yield "subject", parts.subject
    yield "body", parts.body
    if parts.html is not None:
        yield "html", parts.html


def render_part(part: str, source: str, variables: Mapping[str, Any], budget: RenderBudget) -> str:
    template = compile_part(part, source)
    try:
        text = "".join(budget.spend_on(template.generate(variables)))
        # An email has only one kind of line ending.
        return text.replace("\r\n", "\n").replace("\r", "\n")
    except UndefinedError as error:
        raise BadVariables.for_field("variables", str(error.message)) from error
    # Any other error in a template is one that its author can fix.
    except Exception as error:
        raise BadTemplate.for_field(part, f"cannot be rendered: {error}") from error


def compile_part(part: str, source: str) -> Template:
    try:
        return compile_source(source, is_html=part == "html")
    except TemplateSyntaxError as error:
        raise BadTemplate.for_field(part, f"line {error.lineno}: {error.message}") from error
    except (RecursionError, MemoryError, SyntaxError) as error:
        raise BadTemplate.for_field(part, "is nested too deeply") from error


@lru_cache(maxsize=500)
def compile_source(source: str, is_html: bool) -> Template:
    environment = HTML_ENVIRONMENT if is_html else TEXT_ENVIRONMENT
    tree = environment.parse(source)
    found = list(tree.find_all(nodes.Node))
    if len(found) > MAX_TEMPLATE_NODES:
        raise TemplateSyntaxError(f"more than {MAX_TEMPLATE_NODES} expressions", 1)
    for node in found:
        refuse_unless_allowed(node)
        if isinstance(node, nodes.For):
            # Each iteration outputs something, so that the RenderBudget can stop the loop.
            empty = nodes.TemplateData("", lineno=node.lineno)
            node.body.insert(0, nodes.Output([empty], lineno=node.lineno))
    return environment.from_string(tree)


def refuse_unless_allowed(node: nodes.Node) -> None:
    is_special_loop = isinstance(node, nodes.For) and (node.test or node.recursive)
    if not isinstance(node, ALLOWED_NODES) or is_special_loop:
        kind = type(node).__name__.lower()
        raise TemplateSyntaxError(f"{kind} is not allowed in a template in this form", node.lineno)
