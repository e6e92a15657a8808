"""Generates a Python and a TypeScript client of each service from its OpenAPI document."""

import json
import shutil
from pathlib import Path
from typing import Any

from tools.localdev.services import SERVICES, Service

from .documents import get_document_file
from .programs import BUILD, FOLDER, run_successfully

PYTHON = BUILD / "python"
TYPESCRIPT = BUILD / "typescript"
METHODS = ("get", "put", "post", "delete", "patch", "options", "head")


def list_operations(service: Service) -> list[tuple[str, str]]:
    """Return the method and path of each operation of the document."""
    paths: dict[str, Any] = json.loads(get_document_file(service).read_text())["paths"]
    return [(method, path) for path in paths for method in METHODS if method in paths[path]]


def generate_python_clients() -> None:
    """Write the packages identity_client, content_client and so on; a warning is an error."""
    shutil.rmtree(PYTHON, ignore_errors=True)
    PYTHON.mkdir(parents=True)
    for service in SERVICES:
        options = ["--meta", "none", "--config", FOLDER / "python-client.yaml", "--fail-on-warning"]
        document = get_document_file(service)
        target = PYTHON / f"{service.short}_client"
        command = ["openapi-python-client", "generate", "--path", document]
        run_successfully(*command, "--output-path", target, *options)


def count_python_functions(service: Service) -> int:
    """Count the endpoints of a generated client: each has a module of its own."""
    modules = (PYTHON / f"{service.short}_client" / "api").glob("*/*.py")
    return len([file for file in modules if file.name != "__init__.py"])


def generate_typescript_clients() -> None:
    """Write the types of each service, and a file that uses the answers of every operation."""
    shutil.rmtree(TYPESCRIPT, ignore_errors=True)
    TYPESCRIPT.mkdir(parents=True)
    for service in SERVICES:
        target = TYPESCRIPT / f"{service.short}.ts"
        run_successfully("openapi-typescript", get_document_file(service), "--output", target)
        write_uses(service, TYPESCRIPT / f"use_{service.short}.ts")


def write_uses(service: Service, file: Path) -> None:
    lines = [f'import type {{ paths }} from "./{service.short}";', "export type Answers = ["]
    for method, path in list_operations(service):
        lines.append(f'  paths[{json.dumps(path)}][{json.dumps(method)}]["responses"],')
    file.write_text("\n".join([*lines, "];", ""]))
