"""Generates clients from the documents, checks their types, and does the main job with one."""

import pytest

from tests.conftest import Stack
from tools.contract.clients import (
    PYTHON,
    TYPESCRIPT,
    count_python_functions,
    generate_python_clients,
    generate_typescript_clients,
    list_operations,
)
from tools.contract.programs import FOLDER, run_successfully
from tools.localdev.services import SERVICES

SCRIPTS = FOLDER / "scripts"
MAIN_JOB = SCRIPTS / "main_job.py"


@pytest.fixture(scope="module")
def python_clients() -> None:
    generate_python_clients()


@pytest.fixture(scope="module")
def typescript_clients() -> None:
    generate_typescript_clients()


@pytest.mark.usefixtures("python_clients")
def test_the_python_clients_have_every_operation() -> None:
    generated = {service.short: count_python_functions(service) for service in SERVICES}

    assert generated == {service.short: len(list_operations(service)) for service in SERVICES}


@pytest.mark.usefixtures("python_clients")
def test_mypy_strict_accepts_the_python_clients_and_what_uses_them() -> None:
    options = ["--config-file", FOLDER / "mypy.ini"]

    run_successfully("mypy", *options, PYTHON, SCRIPTS, variables={"MYPYPATH": str(PYTHON)})


@pytest.mark.usefixtures("typescript_clients")
def test_tsc_strict_accepts_the_typescript_clients_and_every_operation_is_there() -> None:
    files = sorted(TYPESCRIPT.glob("*.ts"))

    run_successfully("tsc", "--strict", "--noEmit", "--skipLibCheck", *files)


@pytest.mark.skipif(not MAIN_JOB.exists(), reason="a service alone cannot do the main job")
@pytest.mark.usefixtures("python_clients")
def test_the_main_job_is_done_with_the_python_clients_errors_included(stack: Stack) -> None:
    urls = {f"{s.short.upper()}_URL": stack.get_url(s.name) for s in SERVICES}

    said = run_successfully("python", MAIN_JOB, variables={"PYTHONPATH": str(PYTHON), **urls})

    assert said == "Closing the mill race: approved\n"
