"""Runs `make open`, `make psql S=identity` and `make shell S=workflow-worker` in both stacks.

Called as `python -m tools.localdev.console COMMAND STACK [NAME]`. With Docker it needs no package.
"""

import os
import re
import sys
import webbrowser
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NoReturn

from .servers import Postgres, get_postgres_program, is_open
from .services import ROOT, SERVICES, Service, get_default_ports

WELCOME = Path(__file__).with_name("welcome.txt")
FOLDER = ROOT / ".local"
URL_PATTERN = re.compile(r"http://localhost:(\d+)\S*")
DISPLAY_VARIABLES = {"BROWSER", "DISPLAY", "WAYLAND_DISPLAY"}


def open_pages(stack: str, name: str) -> None:
    """Open the API documentation of each service, and the mails; print where they are."""
    for url, port in find_pages():
        if not is_open(port):
            sys.exit(f"error: nothing answers at {url}: `make up` starts everything")
        print(url)
        if has_browser(os.environ):
            webbrowser.open(url)
    if not has_browser(os.environ):
        print("There is no browser here: copy the addresses into one")


def find_pages() -> list[tuple[str, int]]:
    """Return the addresses that `make up` shows, each with its port."""
    return [(found[0], int(found[1])) for found in URL_PATTERN.finditer(WELCOME.read_text())]


def has_browser(environment: Mapping[str, str]) -> bool:
    """Return whether a browser window can open; one in the terminal would block it."""
    return sys.platform == "darwin" or not DISPLAY_VARIABLES.isdisjoint(environment)


def run_psql(stack: str, name: str) -> None:
    """Connect to the database of a service with psql, as the service."""
    service = find_service(name)
    if stack == "docker":
        login = ["psql", "-U", service.short, "-d", service.database_name]
        execute_in_container(f"{service.short}-db", login)
    postgres = Postgres(FOLDER / "postgres", get_default_ports()["postgres"])
    if not is_open(postgres.port):
        sys.exit("error: PostgreSQL is not running: `make up` starts it")
    execute(build_psql_command(postgres, service), os.environ)


def build_psql_command(postgres: Postgres, service: Service) -> list[str]:
    """Return the command with the psql of the PostgreSQL that runs, so none must be installed."""
    return [get_postgres_program("psql"), postgres.get_url(service.short, service.database_name)]


def run_shell(stack: str, name: str) -> None:
    """Open a shell in a container; without Docker, Python with the service's environment."""
    processes = {f"{s.short}-{kind}": s for s in SERVICES for kind in ("service", *s.background)}
    names = {**{service.short: service for service in SERVICES}, **processes}
    service = names.get(name) or reject(name, processes)
    if stack == "docker":
        execute_in_container(name if name in processes else service.name, ["bash"])
    from .layout import Layout  # needs packages

    variables = Layout(FOLDER, get_default_ports(), {}).get_environment(service)
    greeting = f"The environment of {service.name}. For example: import {service.package}.settings"
    os.chdir(service.folder)
    execute([sys.executable, "-i", "-c", f"print({greeting!r})"], {**os.environ, **variables})


def find_service(name: str) -> Service:
    for service in SERVICES:
        if name in (service.short, service.name):
            return service
    reject(name, (service.short for service in SERVICES))


def reject(name: str, names: Iterable[str]) -> NoReturn:
    said = f"there is no {name}" if name else "S is missing"
    sys.exit(f"error: {said}; S is one of {', '.join(names)}")


def execute_in_container(name: str, command: list[str]) -> NoReturn:
    terminal = [] if sys.stdin.isatty() else ["-T"]
    execute(["docker", "compose", "exec", *terminal, name, *command], os.environ)


def execute(command: list[str], environment: Mapping[str, str]) -> NoReturn:
    """Replace this process by the command, which so has the terminal to itself."""
    sys.stdout.flush()
    os.execvpe(command[0], command, environment)


COMMANDS: dict[str, Callable[[str, str], None]] = {
    "open": open_pages,
    "psql": run_psql,
    "shell": run_shell,
}


def main() -> None:
    command, stack, *names = sys.argv[1:]
    COMMANDS[command](stack, "".join(names))


if __name__ == "__main__":
    main()
