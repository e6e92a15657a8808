"""Tests the specification's checklist for every service, forks included."""

import ast
import importlib
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import AliasChoices
from sqlalchemy.engine import make_url

from chassis.settings import Settings
from tools.localdev.services import ROOT

from .services_under_test import SERVICE_FOLDERS, assert_problem

FILES = """
    service.toml layers.toml main.py Dockerfile requirements.txt .env.example README.md alembic.ini
    migrations/env.py tests/policies.txt
    {package}/main.py {package}/settings.py {package}/database.py {package}/health.py
"""
PINNED = [
    *sorted(ROOT.glob("requirements.*.txt")),
    *sorted(ROOT.glob("*-service/requirements*.txt")),
]
LOCK = ROOT / "requirements.lock"
EXACT = re.compile(r"[\w.-]+(\[[\w,-]+\])?==[\w.]+( *;.*)?")
DRIVERS = {"asyncpg", "psycopg", "psycopg2", "psycopg2-binary"}
AVOIDED = {"common", "utils", "helpers", "core", "base", "manager"}
HEALTH = {"service", "status", "version", "port", "dependencies", "metrics"}
METRICS = {"uptime_seconds", "active_connections", "memory_usage_mb"}


# -- files --------------------------------------------------------------------------------------


def test_a_service_has_the_standard_files(folder: Path, package: str) -> None:
    missing = [n for n in FILES.format(package=package).split() if not (folder / n).exists()]

    assert missing == []


def test_requirements_start_from_the_shared_ones_and_name_a_driver(folder: Path) -> None:
    lines = requirements(folder / "requirements.txt")

    assert lines[0] == "-r ../requirements.shared.txt"
    assert DRIVERS & {name_of(line) for line in lines[1:]}


def test_shared_requirements_name_no_driver() -> None:
    names = {name_of(line) for line in requirements(ROOT / "requirements.shared.txt")}

    assert not names & DRIVERS


@pytest.mark.parametrize("path", PINNED, ids=lambda path: str(path.relative_to(ROOT)))
def test_pins_are_exact(path: Path) -> None:
    packages = [line for line in requirements(path) if not line.startswith("-")]

    assert [line for line in packages if not EXACT.fullmatch(line)] == []


@pytest.mark.parametrize("path", PINNED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_requirement_is_locked_in_its_version(path: Path) -> None:
    locked = {name_of(line): version_of(line) for line in requirements(LOCK) if line[0] != "-"}
    packages = [line for line in requirements(path) if not line.startswith("-")]

    outdated = [line for line in packages if locked.get(name_of(line)) != version_of(line)]
    assert outdated == [], "run `make lock`"


def test_every_package_is_locked_with_hashes_and_from_no_particular_index() -> None:
    text = LOCK.read_text()

    assert re.findall(r"==.*(?<!\\)$", text, re.M) == []
    assert re.findall(r"://|--index|--find-links", text) == []


def requirements(path: Path) -> list[str]:
    lines = (line.partition(" #")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def name_of(requirement: str) -> str:
    return re.split(r"[=<>\[; ]", requirement)[0].lower().replace("_", "-")


def version_of(requirement: str) -> str:
    return re.split(r"==|[; ]", requirement)[1]


def test_env_example_explains_every_variable_of_the_settings(
    folder: Path, settings: Settings
) -> None:
    lines = (folder / ".env.example").read_text().splitlines()
    pairs = zip(["", *lines], lines, strict=False)
    explained = {
        match.group(1)
        for before, line in pairs
        if (match := re.match(r"#? ?([A-Z][A-Z0-9_]*)=", line))
        and (before.startswith("#") or " #" in line)
    }

    assert variables(settings) - explained == set()


def variables(settings: Settings) -> set[str]:
    """Return the environment variables that the service reads."""
    names = set()
    for name, field in type(settings).model_fields.items():
        alias = field.validation_alias
        first = alias.choices[0] if isinstance(alias, AliasChoices) else alias or name
        names.add(str(first).upper())
    return names


def test_the_image_runs_main_py_as_an_ordinary_user_and_checks_its_health(folder: Path) -> None:
    dockerfile = (folder / "Dockerfile").read_text()

    assert re.search(r"^USER (?!root)", dockerfile, re.M)
    assert re.search(r"^HEALTHCHECK", dockerfile, re.M)
    assert re.search(r"apt-get install .*curl", dockerfile)  # for checks to the letter
    assert re.search(r'^CMD \["python", "main.py"\]', dockerfile, re.M)


# -- names and imports --------------------------------------------------------------------------


def test_databases_and_tables_follow_the_naming_conventions(
    package: str, settings: Settings
) -> None:
    default = type(settings).model_fields["database_url"].default
    importlib.import_module(f"{package}.models")
    tables = importlib.import_module(f"{package}.database").Base.metadata.tables

    assert re.fullmatch(r"[a-z_]+_service", make_url(default).database or "")
    assert [name for name in tables if not re.fullmatch(r"[a-z][a-z0-9_]*", name)] == []


def test_modules_say_what_they_are_and_have_telling_names(folder: Path, package: str) -> None:
    modules = sorted((folder / package).rglob("*.py"))

    undocumented = [
        path.name
        for path in modules
        if path.read_text() and ast.get_docstring(parsed(path)) is None
    ]
    vague = [path.name for path in modules if path.stem in AVOIDED]

    assert (undocumented, vague) == ([], [])


def test_the_chassis_imports_no_service() -> None:
    services = {folder.name.replace("-", "_") for folder in SERVICE_FOLDERS}

    assert imported_under(ROOT / "chassis") & services == set()


def test_no_service_imports_another(folder: Path, package: str) -> None:
    others = {other.name.replace("-", "_") for other in SERVICE_FOLDERS} - {package}

    assert imported_under(folder) & others == set()


def imported_under(folder: Path) -> set[str]:
    """Return the top-level names that the modules in a folder import."""
    names = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


# -- on the wire --------------------------------------------------------------------------------


def test_health_has_the_standard_shape(
    folder: Path, settings: Settings, client: TestClient
) -> None:
    response = client.get("/health")

    body = response.json()
    assert response.status_code == 200
    assert body.keys() == HEALTH
    assert body["service"] == folder.name == settings.service_name
    assert body["port"] == settings.service_port
    assert body["status"] in ("healthy", "degraded")
    assert body["metrics"].keys() == METRICS
    assert {"database", "redis"} <= body["dependencies"].keys()
    assert set(body["dependencies"].values()) <= {"healthy", "unhealthy"}
    assert ("identity-service" in body["dependencies"]) == (folder.name != "identity-service")


def test_a_started_service_is_alive_ready_and_measured(started: TestClient) -> None:
    assert started.get("/health/live").status_code == 200
    assert started.get("/health/ready").json()["status"] == "ready"
    assert "http_requests_total" in started.get("/metrics").text


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_documentation_renders_without_the_internet(client: TestClient, page: str) -> None:
    response = client.get(page)

    sources = re.findall(r'(?:src|href)="([^"]+)"', response.text)
    assert response.status_code == 200
    assert sources and not re.search(r"""["'(](https?:)?//""", response.text)
    assert {client.get(source).status_code for source in sources} == {200}


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:3000", True),
        ("http://localhost:5173", True),
        ("http://localhost:3001", False),
        ("https://localhost:3000", False),
        ("http://evil.example", False),
        ("null", False),
    ],
)
def test_browsers_may_call_from_the_two_default_origins_only(
    client: TestClient, origin: str, allowed: bool
) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}

    preflight = client.options("/health", headers=headers)
    simple = client.get("/health/live", headers={"Origin": origin})

    for response in (preflight, simple):
        assert (response.headers.get("access-control-allow-origin") == origin) == allowed


def test_errors_are_problems(client: TestClient) -> None:
    assert_problem(client.get("/no/such/route"), 404)
    assert_problem(client.delete("/health"), 405)


def test_a_trace_id_is_taken_returned_and_put_into_errors(client: TestClient) -> None:
    response = client.get("/no/such/route", headers={"X-Trace-ID": "a-trace-of-mine"})

    assert response.headers["x-trace-id"] == response.json()["trace_id"] == "a-trace-of-mine"
