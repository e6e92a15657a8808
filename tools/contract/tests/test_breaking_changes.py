"""Compares the OpenAPI documents with earlier ones; and tests that the comparison sees enough."""

import copy
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools.contract.breaking_changes import find_unnamed_changes
from tools.localdev.services import ROOT

HOW = (
    "Change it back, or name the operation or schema in a new line under Unreleased in CHANGELOG.md"
)
TITLE = {"type": "string"}
NEW = {"type": "object", "required": ["title"], "properties": {"title": TITLE},
       "additionalProperties": False}  # fmt: skip
LEVEL = {"type": "string", "enum": ["read", "write"]}
READ = {"type": "object", "required": ["id", "title"],
        "properties": {"id": {"type": "integer"}, "title": TITLE}}  # fmt: skip
PROBLEM = {"type": "object", "required": ["code"], "properties": {"code": {"type": "string"}}}


def refer(name: str, media_type: str = "application/json") -> dict[str, Any]:
    return {"content": {media_type: {"schema": {"$ref": f"#/components/schemas/{name}"}}}}


DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Notes", "version": "1.0.0"},
    "paths": {
        "/api/v1/notes": {
            "get": {
                "operationId": "list_notes",
                "parameters": [{"name": "level", "in": "query", "schema": LEVEL}],
                "responses": {"200": {"description": "A note", **refer("NoteRead")}},
            },
            "post": {
                "operationId": "create_note",
                "requestBody": refer("NoteCreate"),
                "responses": {
                    "201": {"description": "The note", **refer("NoteRead")},
                    "422": {"description": "No", **refer("Problem", "application/problem+json")},
                },
            },
        },
        "/api/v1/notes/{id}": {
            "get": {
                "operationId": "read_note",
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
                ],
                "responses": {"200": {"description": "A note", **refer("NoteRead")}},
            }
        },
    },
    "components": {"schemas": {"NoteCreate": NEW, "NoteRead": READ, "Problem": PROBLEM}},
}  # fmt: skip
Change = Callable[[dict[str, Any]], object]


def test_no_document_has_a_breaking_change_that_the_changelog_does_not_name() -> None:
    found = list(find_unnamed_changes(ROOT))

    assert not found, "\n".join([*found, HOW])


# -- the comparison itself ----------------------------------------------------------------------


class History:
    """Holds a repository with one document, and commits changes of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "docs" / "openapi").mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *command: str) -> None:
        identity = ["-c", "user.name=Tess", "-c", "user.email=tess@example.com"]
        subprocess.run(["git", *identity, *command], cwd=self.folder, check=True)

    def commit(self, document: dict[str, Any], unreleased: str = "") -> None:
        text = json.dumps(document, indent=2)
        (self.folder / "docs" / "openapi" / "notes.json").write_text(text)
        changelog = f"# Changelog\n\n## [Unreleased]\n\n{unreleased}\n\n## [1.0.0]\n\n- Notes\n"
        (self.folder / "CHANGELOG.md").write_text(changelog)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "As it is now")


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    monkeypatch.delenv("BASE", raising=False)
    history = History(tmp_path)
    history.commit(DOCUMENT)
    return history


def change_document(change: Change) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    return document


def get_schema(document: dict[str, Any], name: str) -> Any:
    return document["components"]["schemas"][name]


def get_operation(document: dict[str, Any], method: str = "get") -> Any:
    return document["paths"]["/api/v1/notes"][method]


def remove_enum_value(document: dict[str, Any]) -> None:
    get_operation(document)["parameters"][0]["schema"] = {"type": "string", "enum": ["read"]}


BREAKING: dict[str, tuple[Change, str]] = {
    "a removed operation": (lambda d: d["paths"]["/api/v1/notes"].pop("get"), "list_notes"),
    "a removed path": (lambda d: d["paths"].pop("/api/v1/notes/{id}"), "GET /notes/{id}"),
    "a new required field of a request": (
        lambda d: get_schema(d, "NoteCreate").update(
            required=["title", "level"], properties={"title": TITLE, "level": LEVEL}
        ),
        "NoteCreate",
    ),
    "a removed field of a request": (
        lambda d: get_schema(d, "NoteCreate").update(required=[], properties={}),
        "NoteCreate",
    ),
    "a removed field of a response": (
        lambda d: get_schema(d, "NoteRead").update(
            required=["id"], properties={"id": {"type": "integer"}}
        ),
        "NoteRead",
    ),
    "another type of a field": (
        lambda d: get_schema(d, "NoteRead")["properties"].update(id={"type": "string"}),
        "NoteRead",
    ),
    "a removed value of a parameter": (remove_enum_value, "GET /notes"),
    "a removed success": (
        lambda d: get_operation(d, "post")["responses"].pop("201"),
        "create_note",
    ),
    "another media type of an error": (
        lambda d: get_operation(d, "post")["responses"]["422"].update(refer("Problem")),
        "POST /api/v1/notes",
    ),
    "another operationId": (
        lambda d: get_operation(d).update(operationId="all_notes"),
        "list_notes",
    ),
    "a new required parameter": (
        lambda d: get_operation(d)["parameters"].append(
            {"name": "by", "in": "query", "required": True, "schema": TITLE}
        ),
        "list_notes",
    ),
}


@pytest.mark.parametrize("name", BREAKING)
def test_a_breaking_change_is_found_unless_the_changelog_names_it(
    history: History, name: str
) -> None:
    change, announced = BREAKING[name]

    history.commit(change_document(change), "- Something else, such as `GET /notes/other`.")
    assert list(find_unnamed_changes(history.folder)), name

    history.git("reset", "--quiet", "--hard", "HEAD^")
    history.commit(change_document(change), f"- `{announced}` is not what it was.")
    assert not list(find_unnamed_changes(history.folder))


COMPATIBLE: dict[str, Change] = {
    "a new operation": lambda d: d["paths"].update({"/api/v1/more": d["paths"]["/api/v1/notes"]}),
    "a new optional field of a request": lambda d: get_schema(d, "NoteCreate")["properties"].update(
        level=LEVEL
    ),
    "a new field of a response": lambda d: get_schema(d, "NoteRead")["properties"].update(
        level=LEVEL
    ),
    "another description": lambda d: get_operation(d).update(description="Lists notes."),
}


@pytest.mark.parametrize("name", COMPATIBLE)
def test_a_change_that_breaks_no_client_needs_no_line(history: History, name: str) -> None:
    history.commit(change_document(COMPATIBLE[name]))

    assert not list(find_unnamed_changes(history.folder))


def test_an_old_line_of_the_changelog_names_no_new_change(history: History) -> None:
    line = "- `create_note` now answers 201."
    history.commit(DOCUMENT, line)
    history.commit(change_document(BREAKING["a removed success"][0]), line)

    assert list(find_unnamed_changes(history.folder))


def test_a_branch_is_compared_with_the_commit_where_it_left_main(history: History) -> None:
    history.git("checkout", "--quiet", "-b", "feature")
    changed = change_document(BREAKING["a removed operation"][0])
    history.commit(changed)
    history.commit({**changed, "info": {"title": "Notes", "version": "1.0.1"}})

    assert list(find_unnamed_changes(history.folder))


def test_the_first_document_breaks_nothing(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.commit(DOCUMENT)

    assert not list(find_unnamed_changes(history.folder))
