"""What a template cannot do, tried as an attacker would."""

from time import monotonic
from typing import Any

import pytest

from communication_service.schemas.templates import TemplatePreview
from communication_service.templates.rendering import (
    MAX_RENDER_SECONDS,
    BadTemplate,
    BadVariables,
    RenderBudget,
    render_parts,
)

from .conftest import Caller

WELL_FORMED = {"subject": "Hi", "body": "Hi"}

MALFORMED = [
    ("{{ name ", "line 1"),
    ("{% if name %}", "line 1"),
    ("\n\n{% endfor %}", "line 3"),
    ("{{ name|no_such_filter }}", "no_such_filter"),
    ("{{ name is no_such_test }}", "no_such_test"),
    ("{{" + "(" * 5000 + "1" + ")" * 5000 + "}}", "nested too deeply"),
    ("{% if 1 %}" * 500 + "{% endif %}" * 500, "nested too deeply"),
    ("{% for a in [1] %}" * 50 + "{% endfor %}" * 50, "nested too deeply"),
    ("{{ 1 }}" * 6000, "expressions"),
]

ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ ''['__cla' ~ 'ss__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ().__class__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ name.upper }}",
    "{{ name.upper() }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ data.keys() }}",
    "{{ data.update({'a': 1}) }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ config }}",
    "{% for x in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{% for x in [1] %}{{ loop._iterator }}{% endfor %}",
    "{% import 'os' as os %}",
    "{% include '/etc/passwd' %}",
    "{% extends 'other' %}",
    "{% macro m() %}{{ m() }}{% endmacro %}",
    "{% set name = 1 %}{{ name }}",
    "{% block b %}{% endblock %}",
    "{% filter upper %}a{% endfilter %}",
]

RUNAWAYS = [
    "{{ range(1000000000)|length }}",
    "{{ 'a' * 1000000000 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ 'a'|center(1000000000) }}",
    "{{ '%1000000000d'|format(1) }}",
    "{{ 'a'|indent(1000000000) }}",
    "{{ 1|round(1000000000, 'floor') }}",
    "{% for a in many %}{% for b in many %}{% for c in many %}{% endfor %}{% endfor %}{% endfor %}",
    "{% for a in many if 0 %}{% endfor %}",
    "{% for a in many recursive %}{{ loop(many) }}{% endfor %}",
    "{% for a in many %}{% for b in many %}{{ long }}{% endfor %}{% endfor %}",
    "{{ long }}" * 100,
]


@pytest.mark.parametrize("part", ["subject", "body", "html"])
@pytest.mark.parametrize(("source", "expected"), MALFORMED, ids=[m[0][:20] for m in MALFORMED])
def test_a_malformed_template_is_refused_with_its_part(
    editor: Caller, part: str, source: str, expected: str
) -> None:
    if part == "subject" and (len(source) > 300 or "\n" in source):
        return  # refused already
    new = {"name": "malformed", **WELL_FORMED, part: source}

    response = editor.post("/templates", json=new)

    assert response.status_code == 422, response.text
    (error,) = response.json()["errors"]
    assert error["field"] == part
    assert expected in error["message"]


@pytest.mark.parametrize("source", ESCAPES)
@pytest.mark.parametrize("part", ["body", "html"])
def test_nothing_of_python_is_in_reach(editor: Caller, part: str, source: str) -> None:
    variables = {"name": "x", "data": {"key": "value"}}
    preview = {**WELL_FORMED, part: source, "variables": variables}

    response = editor.post("/templates/preview", json=preview)

    assert response.status_code == 422, response.text
    assert response.json()["errors"][0]["field"] in (part, "variables")


@pytest.mark.parametrize("source", RUNAWAYS, ids=[source[:30] for source in RUNAWAYS])
def test_rendering_ends_whatever_the_template(source: str) -> None:
    variables = {"many": list(range(5000)), "long": "x" * 60_000}
    template = TemplatePreview(subject="Hi", body=source, variables=variables)
    began = monotonic()

    with pytest.raises((BadTemplate, BadVariables)):
        render_parts(template, template.variables, RenderBudget())

    assert monotonic() - began < MAX_RENDER_SECONDS + 1


@pytest.mark.parametrize(
    ("source", "rendered"),
    [
        ("{{ data.items }} {{ data['keys'] }}", "5 6"),
        (
            "{% for x in list %}{{ loop.index }}{{ x }}{{ ',' if not loop.last }}{% endfor %}",
            "1a,2b",
        ),
        ("{% if price > 3 and 'a' in list %}{{ price|round(1) }}{% else %}-{% endif %}", "3.8"),
        ("{{ missing|default('none') }} {{ missing is defined }}", "none False"),
        ("{{ text|upper|truncate(6) }} {{ list|length }} {{ list|first }}", "LON... 2 a"),
        ("{{ text }}", "long <b>words</b>"),
        ("100 %, {{ '{{' }} {# unseen #}", "100 %, {{ "),
    ],
)
def test_what_templates_are_for_works(source: str, rendered: str) -> None:
    variables: dict[str, Any] = {
        "data": {"items": 5, "keys": 6},
        "list": ["a", "b"],
        "price": 3.75,
        "text": "long <b>words</b>",
    }
    template = TemplatePreview(subject="Hi", body=source, variables=variables)

    assert render_parts(template, template.variables, RenderBudget()).body == rendered


def test_values_cannot_write_html() -> None:
    template = TemplatePreview(subject="Hi", body="Hi", html="<p>{{ name }}</p>")

    html = render_parts(template, {"name": "<script>alert('x')</script>"}, RenderBudget()).html

    assert html == "<p>&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;</p>"


def test_a_subject_is_one_line_whatever_the_values_hold() -> None:
    template = TemplatePreview(subject="Re: {{ title }}", body="Hi")

    title = "a\r\nBcc: b@example.com\u2028c" + "d" * 999
    subject = render_parts(template, {"title": title}, RenderBudget()).subject

    assert subject.startswith("Re: a Bcc: b@example.com cddd")
    assert len(subject) == 300
