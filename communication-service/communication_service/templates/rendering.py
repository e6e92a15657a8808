"""Rendering: Jinja2 cut down to what cannot run away. Values in, words around them.

A template may output values, branch, loop over a given list and use the filters below. It cannot
call, calculate, define or include, and an attribute is always a key of the data, so nothing of
Python is in its reach; rendering stops at a size and at a time.
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
    """The template itself is wrong; `errors` names the part."""


class BadVariables(Unprocessable):
    """The template wants a variable that was not given."""


class RenderBudget:
    """Of size and of time, for all parts of a template in all its languages together."""

    def __init__(self) -> None:
        self._characters, self._deadline = MAX_RENDERED_CHARACTERS, monotonic() + MAX_RENDER_SECONDS

    def spend_on(self, chunks: Iterable[str]) -> Iterator[str]:
        for chunk in chunks:
            self._characters -= len(chunk)
            if self._characters < 0 or monotonic() > self._deadline:
                raise ValueError("it grows too large or takes too long")
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


TEXT_ENVIRONMENT, HTML_ENVIRONMENT = (
    DataOnlyEnvironment(autoescape=False),
    DataOnlyEnvironment(autoescape=True),
)


def check_parts(parts: Content | TemplateParts, declared_names: set[str] | None = None) -> None:
    """Raises BadTemplate, naming the part and the line, or a variable that is not declared."""
    for part, source in list_sources(parts):
        compile_part(part, source)
        unknown = find_undeclared_variables(TEXT_ENVIRONMENT.parse(source)) - (
            declared_names or set()
        )
        if declared_names is not None and unknown:
            raise BadTemplate.for_field(part, f"uses {', '.join(sorted(unknown))}, not declared")


def render_parts(
    parts: Content | TemplateParts, variables: Mapping[str, Any], budget: RenderBudget
) -> RenderedText:
    """Raises BadTemplate, or BadVariables naming the variable that is missing."""
    rendered = {
        part: render_part(part, source, variables, budget) for part, source in list_sources(parts)
    }
    # A subject is one line of a mail's header, whatever the variables hold.
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
        # A mail knows one kind of line ending only.
        return text.replace("\r\n", "\n").replace("\r", "\n")
    except UndefinedError as error:
        raise BadVariables.for_field("variables", str(error.message)) from error
    # Whatever else goes wrong in there is the template's own doing, and its author's to mend.
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
            # Each turn of a loop outputs something, so that a Budget sees it go by.
            silence = nodes.TemplateData("", lineno=node.lineno)
            node.body.insert(0, nodes.Output([silence], lineno=node.lineno))
    return environment.from_string(tree)


def refuse_unless_allowed(node: nodes.Node) -> None:
    is_loop_too_clever = isinstance(node, nodes.For) and (node.test or node.recursive)
    if not isinstance(node, ALLOWED_NODES) or is_loop_too_clever:
        kind = type(node).__name__.lower()
        raise TemplateSyntaxError(f"this kind of {kind} is not allowed in a template", node.lineno)
