"""Creates a service from the template, and removes one that was created so.

The template is a whole service called acme on port 8099; `places.toml` beside it lists what it adds
to files that all services share. All checks come before the first change.
"""

import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.contract.documents import get_document_file, render_document
from tools.localdev.servers import StartError, run
from tools.localdev.services import ROOT, SERVICES, Service, get_default_ports

TEMPLATE = Path(__file__).with_name("template")
NAME_PATTERN = re.compile(r"[a-z][a-z0-9]{1,19}")
# Other places where a name may be used: compose templates, services, networks, permissions.
USED_NAME_PATTERNS = {"docker-compose.yml": "^(x-|  )NAME:", "docs/permissions.md": r"\bNAME:"}
ALLOWED_PORTS = range(3000, 65536)
# Names with a meaning in PostgreSQL, Docker or YAML.
RESERVED_NAMES = {"postgres", "public", "default"}
RESERVED_NAMES |= {"none", "null", "true", "false", "yes", "no", "on", "off"}


class ForkingError(StartError):
    """Raised with one line that says why nothing was changed, and what to do."""


def create_service(name: str, port: str) -> None:
    service = plan_service(name, port)
    texts = change_shared_files(service, insert_text)
    with tempfile.TemporaryDirectory() as folder:
        write_service_folder(service, Path(folder))
        shutil.copytree(Path(folder, service.name), service.folder)
    for file, text in texts.items():
        file.write_text(text)
    get_document_file(service).write_text(render_document(service))
    print(f"{service.name} is created, on port {port}. Start with {service.name}/README.md")


def remove_service(name: str) -> None:
    service = next((s for s in SERVICES if s.short == name), None)
    if service is None:
        raise ForkingError(f"There is no {name}-service")
    texts = change_shared_files(service, remove_text)
    if work := sorted(find_uncommitted_files(service)):
        raise ForkingError(f"Commit these files first, or delete them: {', '.join(work)}")
    shutil.rmtree(service.folder)
    get_document_file(service).unlink(missing_ok=True)
    for file, text in texts.items():
        file.write_text(text)
    print(f"{service.name} is removed; its data are kept until `make reset`")


def plan_service(name: str, port: str) -> Service:
    """Check the name and port. Raises ForkingError if one of them is invalid or in use."""
    if not NAME_PATTERN.fullmatch(name) or name in RESERVED_NAMES:
        raise ForkingError(
            f"NAME must be lower-case letters and digits, as in billing, not {name!r}"
        )
    if not port.isascii() or not port.isdecimal() or int(port) not in ALLOWED_PORTS:
        raise ForkingError(
            f"PORT must be from {ALLOWED_PORTS[0]} to {ALLOWED_PORTS[-1]}, as in 8005, not {port!r}"
        )
    service = Service(name, int(port))
    if service.folder.exists():
        raise ForkingError(f"{service.name} exists already: choose another NAME")
    for place, pattern in USED_NAME_PATTERNS.items():
        if re.search(pattern.replace("NAME", name), (ROOT / place).read_text(), re.M):
            raise ForkingError(f"{place} has something else called {name}: choose another NAME")
    for owner, taken in get_default_ports().items():
        if taken in (service.port, service.redis_port):
            raise ForkingError(f"Port {taken} belongs to {owner}: choose another PORT than {port}")
    return service


def render(text: str, service: Service) -> str:
    """Replace the template's name and port by the service's."""
    name = service.short
    new = {"acme": name, "Acme": name.capitalize(), "ACME": name.upper(), "8099": service.port}
    return re.sub("|".join(new), lambda found: str(new[found[0]]), text)


def write_service_folder(service: Service, root: Path) -> None:
    """Write the service's own files, and format them: names differ in length and order."""
    shutil.copy(ROOT / "pyproject.toml", root)
    source = TEMPLATE / "acme-service"
    for file in filter(Path.is_file, source.rglob("*")):
        if "__pycache__" not in file.parts:
            path = root / service.name / render(str(file.relative_to(source)), service)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(render(file.read_text(), service))
    for order in (["check", "--fix", "--exit-zero"], ["format"], ["check", "--add-noqa"]):
        ruff = [sys.executable, "-m", "ruff", *order, "--quiet", "--no-cache"]
        run([*ruff, str(root / service.name)])


def change_shared_files(service: Service, change: Callable[..., str]) -> dict[Path, str]:
    """Return the changed texts of shared files. Raises ForkingError for unexpected contents."""
    texts: dict[Path, str] = {}
    for place in tomllib.loads((TEMPLATE / "places.toml").read_text())["place"]:
        file = ROOT / place["file"]
        text = texts.get(file) or file.read_text()
        texts[file] = change(text, render(place["text"], service), place)
    return texts


def insert_text(text: str, addition: str, place: dict[str, str]) -> str:
    found = re.search(place["before"], text, re.M)
    if found is None:
        raise ForkingError(f"{place['file']} has no line that matches {place['before']!r}")
    return text[: found.start()] + addition + text[found.start() :]


def remove_text(text: str, addition: str, place: dict[str, str]) -> str:
    if addition not in text:
        lost = f"what new-service wrote, from {addition.strip().splitlines()[0]!r} on"
        raise ForkingError(f"{place['file']} no longer has {lost}")
    return text.replace(addition, "", 1)


def find_uncommitted_files(service: Service) -> Iterator[str]:
    """Find files of the service that are neither committed nor what new-service writes."""
    status = ["git", "-C", str(ROOT), "status", "--porcelain", "--no-renames", "-z", "-uall"]
    changed = [line[3:] for line in run([*status, "--", service.name]).split("\0") if line]
    with tempfile.TemporaryDirectory() as folder:
        write_service_folder(service, Path(folder))
        for name in [*changed, f"{service.name}/.env"]:
            file = ROOT / name
            made = Path(folder, name)
            if file.exists() and not (made.exists() and made.read_bytes() == file.read_bytes()):
                yield name
