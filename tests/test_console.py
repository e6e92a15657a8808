"""Tests `make psql`, `make shell` and `make open`, without Docker and with it."""

import subprocess
import sys

import pytest

from tools.localdev.console import build_psql_command, find_pages, has_browser
from tools.localdev.services import ROOT, SERVICES, Service
from tools.localdev.test_servers import TemporaryServers


def run_console(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.localdev.console", *arguments]
    return subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, text=True)


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: str(service.name))
def test_psql_is_connected_to_the_database_of_the_service(
    service: Service, servers: TemporaryServers
) -> None:
    command = build_psql_command(servers.postgres, service)

    statement = "SELECT current_user || ' in ' || current_database()"
    done = subprocess.run(command, input=statement, capture_output=True, text=True)

    assert f"{service.short} in {service.database_name}" in done.stdout, done.stderr


def test_a_shell_without_docker_is_python_with_the_environment_of_the_service() -> None:
    question = "import workflow_service.settings as s; print(s.settings.database_url)"

    done = run_console("shell", "local", "workflow-worker", stdin=question)

    assert "127.0.0.1:5440/workflow_intelligence_service" in done.stdout, done.stderr


@pytest.mark.parametrize("stack", ["local", "docker"])
@pytest.mark.parametrize("name", ["nonsense", ""])
def test_an_unknown_service_is_answered_with_the_list_of_those_there_are(
    stack: str, name: str
) -> None:
    for command, known in [("psql", "identity, content"), ("shell", "workflow-worker")]:
        done = run_console(command, stack, *([name] if name else []))

        assert done.returncode == 1
        [line] = done.stderr.splitlines()
        assert known in line and (name or "S is missing") in line


def test_open_knows_the_documentation_of_each_service_and_the_mails() -> None:
    pages = find_pages()

    assert [port for _, port in pages] == [*(service.port for service in SERVICES), 1080]
    assert all(url.endswith("/docs") for url, _ in pages[:-1])


def test_without_a_display_no_browser_is_opened() -> None:
    assert has_browser({"DISPLAY": ":0"})
    assert has_browser({"BROWSER": "/usr/bin/open"})
    assert has_browser({}) == (sys.platform == "darwin")
