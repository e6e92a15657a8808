"""Creates, tests, removes and ejects services in copies of this repository."""

import re
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from tests.repository_copy import Repository, copy_repository
from tools.localdev.services import SERVICES

PROCESSES = """
from pathlib import Path
from tools.localdev.layout import Layout
from tools.localdev.services import get_default_ports
print(*Layout(Path(), get_default_ports(), {}).build_servers())
"""
HERE = Path(__file__).parent
OF_COMPOSE = ("service", "db", "redis", "migrate", "background", "probing", "mail", "platform")


@pytest.fixture
def copy(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return copy_repository(tmp_path_factory.mktemp("copy"))


@pytest.fixture
def fork(copy: Repository) -> Repository:
    copy.run_successfully("make", "new-service", "NAME=billing", "PORT=8005")
    return copy


def test_a_new_service_keeps_all_rules_and_passes_all_tests_without_one_edit(
    fork: Repository,
) -> None:
    fork.run_successfully("make", "lint")
    across = ("standards", "routes", "openapi", "sameness", "docs", "conformance")
    tests = ["billing-service", *(f"tests/test_{name}.py" for name in across)]
    passed = fork.run_successfully(".venv/bin/python", "-m", "pytest", "-q", *tests)

    assert " passed" in passed
    assert "skipped" not in passed


def test_what_was_made_is_taken_out_again_without_a_trace(fork: Repository) -> None:
    assert fork.get_changes()

    fork.run_successfully("make", "remove-service", "NAME=billing")

    assert fork.get_changes() == ""
    assert not (fork.folder / "billing-service").exists()


def test_two_services_come_and_go_in_any_order(fork: Repository) -> None:
    fork.run_successfully("make", "new-service", "NAME=order", "PORT=9000")

    fork.run_successfully("make", "remove-service", "NAME=billing")
    fork.run_successfully("make", "lint")
    fork.run_successfully("make", "remove-service", "NAME=order")

    assert fork.get_changes() == ""


@pytest.mark.parametrize(
    ("name", "port", "why"),
    [
        ("", "8005", "NAME"),
        ("Billing", "8005", "NAME"),
        ("bill ing", "8005", "NAME"),
        ("bill-ing", "8005", "NAME"),
        ("../billing", "8005", "NAME"),
        ("billing\n", "8005", "NAME"),
        ("'; touch oh-no; '", "8005", "NAME"),
        ('"; touch oh-no; "', "8005", "NAME"),
        ("rechnungswesenundbuchhaltung", "8005", "NAME"),
        ("postgres", "8005", "NAME"),
        ("off", "8005", "NAME"),
        ("default", "8005", "NAME"),
        *((name, "8005", "docker-compose.yml has something else") for name in OF_COMPOSE),
        ("documents", "8005", "docs/permissions.md has something else called documents"),
        ("content", "8005", "content-service exists already"),
        ("billing", "", "PORT"),
        ("billing", "80", "PORT"),
        ("billing", "70000", "PORT"),
        ("billing", "-8005", "PORT"),
        ("billing", "eight", "PORT"),
        ("billing", "8002", "belongs to content-service"),
        ("billing", "6382", "belongs to content-redis"),
        ("billing", "7060", "belongs to postgres"),
    ],
)
def test_an_odd_or_taken_name_or_port_is_refused_and_nothing_changed(
    unchanged: Repository, name: str, port: str, why: str
) -> None:
    done = unchanged.run("make", "new-service", f"NAME={name}", f"PORT={port}")

    assert done.returncode != 0
    [error] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert why in error
    assert unchanged.get_changes() == ""


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Share one copy among all tests in which nothing changes."""
    return copy_repository(tmp_path_factory.mktemp("unchanged"))


def test_a_file_that_has_no_place_for_a_service_leaves_all_as_it_was(copy: Repository) -> None:
    compose = copy.folder / "docker-compose.yml"
    compose.write_text(compose.read_text().replace("\nvolumes:\n", "\nother:\n"))
    copy.commit()

    done = copy.run("make", "new-service", "NAME=billing", "PORT=8005")

    assert "docker-compose.yml has no line" in done.stderr
    assert copy.get_changes() == ""


def test_work_that_is_not_committed_is_not_taken_out(fork: Repository) -> None:
    work = [fork.folder / "billing-service" / name for name in (".env", "idea.md", "main.py")]
    for file in work:
        file.write_text("# Mine\n")
    before = fork.get_changes()

    done = fork.run("make", "remove-service", "NAME=billing")

    assert done.returncode != 0
    assert all(f"billing-service/{file.name}" in done.stderr for file in work)
    assert fork.get_changes() == before

    work[0].unlink()
    fork.commit()
    fork.run_successfully("make", "remove-service", "NAME=billing")
    assert not (fork.folder / "billing-service").exists()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("content", "no longer has what new-service wrote"),
        ("contnt", "There is no contnt-service"),
        ("", "There is no -service"),
        ("../..", "There is no"),
    ],
)
def test_what_was_not_made_here_is_not_taken_out(
    unchanged: Repository, name: str, why: str
) -> None:
    done = unchanged.run("make", "remove-service", f"NAME={name}")

    assert done.returncode != 0
    assert why in done.stderr
    assert unchanged.get_changes() == ""


# -- a repository of its own --------------------------------------------------------------------

SERVICE_NAMES = [service.name for service in SERVICES]


@pytest.mark.parametrize("name", SERVICE_NAMES)
def test_an_ejected_service_is_whole(unchanged: Repository, tmp_path: Path, name: str) -> None:
    unchanged.run_successfully("make", "eject", f"SERVICE={name}", f"TO={tmp_path}")

    ejected = Repository(tmp_path)
    ejected.share_packages()
    ejected.run_successfully("make", "lint")
    # The same tests of the chassis and of the service have run here already, in full.
    options = {"PYTEST_ADDOPTS": "--deselect=chassis/ -p sample_tests", "PYTHONPATH": str(HERE)}
    assert " passed" in ejected.run_successfully("make", "test", **options)
    compose = yaml.safe_load((tmp_path / "docker-compose.yml").read_text())
    own = {entry for entry in compose["services"] if entry.startswith(name.partition("-")[0])}
    assert set(compose["services"]) - own <= {"identity-service", "mail"}
    stands_in = "stands in" in (tmp_path / "README.md").read_text()
    assert stands_in == (name != "identity-service")
    assert not re.findall("fork|docs", (tmp_path / ".ci/run").read_text())
    for file in filter(Path.is_file, (tmp_path / ".github").rglob("*")):
        assert "contract" not in file.read_text()  # tools/contract stays here
    assert unchanged.get_changes() == ""


def test_an_ejected_fork_is_green_and_runs_with_a_stand_in_for_identity(
    fork: Repository, tmp_path: Path
) -> None:
    fork.run_successfully("make", "eject", "SERVICE=billing-service", f"TO={tmp_path}")

    ejected = Repository(tmp_path)
    ejected.share_packages()
    passed = ejected.run_successfully("make", "test")  # the chassis's tests too

    assert " passed" in passed
    processes = (".venv/bin/python", "-c", PROCESSES)
    assert "tools.localdev.identity_server" in ejected.run_successfully(*processes)
    assert "tools.localdev.identity_server" not in ejected.run_successfully(
        *processes, IDENTITY_SERVICE_URL="http://a"
    )
    ejected.commit()
    assert ejected.get_changes() == ""


@pytest.mark.parametrize(
    ("service", "to", "why"),
    [
        ("contnt-service", "../elsewhere", "SERVICE must be one of identity-service, "),
        ("", "../elsewhere", "SERVICE must be one of"),
        ("content-service", "", "TO must be"),
        ("content-service", "inside", "TO must be a new or empty folder outside"),
        ("content-service", "/", "TO must be a new or empty folder outside this repository"),
    ],
)
def test_what_cannot_be_ejected_is_refused(
    unchanged: Repository, service: str, to: str, why: str
) -> None:
    done = unchanged.run("make", "eject", f"SERVICE={service}", f"TO={to}")

    assert done.returncode != 0
    assert why in done.stderr
    assert unchanged.get_changes() == ""
