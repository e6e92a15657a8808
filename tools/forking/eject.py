"""Copies one service, with everything it needs, into a repository of its own."""

import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tools.localdev.servers import run
from tools.localdev.services import ROOT, SERVICES, Service

from .new_service import ForkingError, render

OVERLAY = Path(__file__).with_name("ejected")
COPIED_PATHS = """
    chassis/ tools/__init__.py tools/localdev/ tools/conformance/ .ci/ .github/
    tests/__init__.py tests/conftest.py tests/users.py tests/services_under_test.py
    tests/security/policies.py tests/test_standards.py tests/test_routes.py tests/test_openapi.py
    tests/test_sameness.py tests/test_conformance.py
    tools/doctor.py tools/sbom.py .devcontainer/ .dockerignore .editorconfig .env.shared
    .gitattributes .gitignore .pre-commit-config.yaml LICENSE Makefile conftest.py
    docker-compose.yml pyproject.toml requirements.
"""
NETWORKS = "\nnetworks:\n"
STAND_IN_TEXT = re.compile(
    r"^## Who is calling.*?(?=^## )|^  http\S+ +a stand-in.*?(?=\nNext)", re.M | re.S
)
PLATFORM_PARTS = {
    ".ci/run": r"^.*make (fork|docs)-test.*\n",
    ".github/PULL_REQUEST_TEMPLATE.md": r"^.*make contract.*\n",
    ".github/workflows/ci.yml": r"^\n  contract:\n(    .*\n)+",
    ".github/dependabot.yml": r"^  - package-ecosystem: npm\n(    .*\n)+|, \"/tools/contract\"",
}
IDENTITY_URL = "http://identity-service:8001"


def eject(name: str, to: str) -> None:
    service = next((s for s in SERVICES if s.name == name), None)
    if service is None:
        names = ", ".join(s.name for s in SERVICES)
        raise ForkingError(f"SERVICE must be one of {names}, not {name!r}")
    target = Path(to).resolve()
    is_new = not target.exists() or (target.is_dir() and not any(target.iterdir()))
    if not to or target.is_relative_to(ROOT) or not is_new:
        raise ForkingError(f"TO must be a new or empty folder outside this repository, not {to!r}")
    copy_files(service, target)
    adapt_files(service, target)
    run(["git", "init", "--quiet", str(target)])
    print(f"{name} now has a repository of its own in {target}. Start with its README.md")


def copy_files(service: Service, target: Path) -> None:
    """Copy files that git tracks or would track: no caches, no data, no secrets."""
    prefixes = (*COPIED_PATHS.split(), f"{service.name}/")
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"]
    for name in run(listed).split("\0"):
        if name.startswith(prefixes) and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def adapt_files(service: Service, target: Path) -> None:
    """Remove the other services from shared files, and add the stand-in for identity."""
    needs_stand_in = service.short != "identity"
    for name in ("README.md", "tools/localdev/welcome.txt"):
        text = render((OVERLAY / name).read_text(), service)
        (target / name).write_text(text if needs_stand_in else STAND_IN_TEXT.sub("", text))
    for name, pattern in PLATFORM_PARTS.items():
        rewrite(target / name, partial(re.compile(pattern, re.M).sub, ""))
    rewrite(target / "docker-compose.yml", lambda text: remove_other_services(text, service))
    if needs_stand_in:
        stand_in = "\n" + render((OVERLAY / "identity.yml").read_text(), service) + NETWORKS
        rewrite(target / "docker-compose.yml", lambda text: text.replace(NETWORKS, stand_in))
        by_choice = f"${{IDENTITY_SERVICE_URL:-{IDENTITY_URL}}}"
        rewrite(target / ".env.shared", lambda text: text.replace(IDENTITY_URL, by_choice))


def rewrite(file: Path, function: Callable[[str], str]) -> None:
    file.write_text(function(file.read_text()))


def remove_other_services(compose: str, service: Service) -> str:
    """Remove the entries of other services from docker-compose.yml; keys begin with the name."""
    mail = [] if service.short == "communication" else ["mail"]
    others = "|".join([*(s.short for s in SERVICES if s != service), *mail])
    compose = re.sub(rf"^x-({others})(-code)?:.*\n(  .*\n)+", "", compose, flags=re.M)
    compose = re.sub(rf"^  ({others})(-\w+)?:.*\n(    .*\n)*", "", compose, flags=re.M)
    return re.sub(r"\n{3,}", "\n\n", compose).replace("services:\n\n", "services:\n")
