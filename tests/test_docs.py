"""Compares the documentation with the code; UPDATE_DOCS=1 writes what follows from the code."""

import importlib
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from inspect import getclosurevars, isfunction
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts

from chassis.auth import Bearer
from tools.localdev.services import ROOT, SERVICES

UPDATE = "UPDATE_DOCS=1 .venv/bin/python -m pytest tests/test_docs.py"
PERMISSIONS = ROOT / "docs/permissions.md"
INTRODUCTION = f"""\
# Permissions and the routes that ask for them

Written by `{UPDATE}`. All paths are under `/api/v1`; `*` is every permission.

¹ also for the user whom the path names; ² for that user and for every service.

| permission | routes |
|---|---|
"""
ANYBODYS, PERSONS = ("any token", ""), ("a person's own token", "")
CHECKED = ["background-work", "failure-matrix", "glossary", "guarantees", "patterns"]
PATTERNS = (ROOT / "docs/patterns.md").read_text()
REFERENCE = re.compile(r"`([\w./-]+/[\w.-]+\.\w+)(?:::(\w+))?`")  # `file` or `file::function`
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
EXCERPT = re.compile(r"^```\w+\n# (\S+)\n(.+?)^```", re.M | re.S)


def test_the_table_of_permissions_is_that_of_the_routes() -> None:
    rows = defaultdict(list)
    for service in SERVICES:
        app = importlib.import_module(f"{service.package}.main").app
        for route in iter_route_contexts(app.routes):
            if str(route.path).startswith("/api/v1"):
                asked = set(permissions(route.dependant)) or {("no token", "")}
                for least in (ANYBODYS, PERSONS):
                    asked = asked - {least} or asked
                [(permission, mark)] = asked
                path = str(route.path).removeprefix("/api/v1")
                rows[permission].append(f"`{' '.join(route.methods or ())} {path}`{mark}")
    lines = [f"| {permission} | {' · '.join(rows[permission])} |\n" for permission in sorted(rows)]
    table = INTRODUCTION + "".join(lines)
    if os.environ.get("UPDATE_DOCS"):
        PERMISSIONS.write_text(table)

    written = PERMISSIONS.read_text()  # in any order: the rows of a new service come last
    assert sorted(written.splitlines()) == sorted(table.splitlines()), f"Out of date: {UPDATE}"


def permissions(dependant: Any) -> Iterator[tuple[str, str]]:
    """What the dependencies ask for: a Bearer, or a check that was made for a permission."""
    for dependency in dependant.dependencies:
        if isinstance(dependency.call, Bearer):
            yield (dependency.call.permission, "") if dependency.call.permission else ANYBODYS
        elif getattr(dependency.call, "__name__", "") == "in_person":
            yield PERSONS
        elif isfunction(dependency.call):
            made_for = getclosurevars(dependency.call).nonlocals
            if "permission" in made_for:
                yield made_for["permission"], "²" if made_for.get("services") else "¹"
        yield from permissions(dependency)


@pytest.mark.parametrize("document", ["README.md", *(f"docs/{name}.md" for name in CHECKED)])
def test_the_files_and_tests_that_a_document_names_are_there(document: str) -> None:
    for path, function in REFERENCE.findall((ROOT / document).read_text()):
        assert (ROOT / path).exists(), path
        assert f"def {function}" in (ROOT / path).read_text() or not function, f"{path}::{function}"


def test_relative_links_in_the_documents_lead_to_files() -> None:
    for document in [*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("docs/adr/*.md")]:
        for target in LINK.findall(document.read_text()):
            assert (document.parent / target).exists(), f"{document.relative_to(ROOT)}: {target}"


def test_the_excerpts_in_the_patterns_are_the_code() -> None:
    for path, code in EXCERPT.findall(PATTERNS):
        assert code in (ROOT / path).read_text(), path
