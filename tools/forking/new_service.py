"""A service of one's own: `new` makes it from the template, `remove` takes it out again.

The template is a whole service called acme on port 8099; `places.toml` beside it lists what it adds
to files that all services share. Nothing is written before everything is known to fit.
"""

import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.localdev.layout import default_ports
from tools.localdev.servers import StartError, run
from tools.localdev.services import ROOT, SERVICES, Service

TEMPLATE = Path(__file__).with_name("template")
NAME = re.compile(r"[a-z][a-z0-9]{1,19}")
# Where else a name may be taken: by a template, service, network or volume, or by permissions.
NAMED = {"docker-compose.yml": "^(x-|  )NAME:", "docs/permissions.md": r"\bNAME:"}
PORTS = range(3000, 65536)
# Names of other things, in PostgreSQL, Docker and YAML.
RESERVED = {"postgres", "public", "default"}
RESERVED |= {"none", "null", "true", "false", "yes", "no", "on", "off"}


class Refused(StartError):
    """Why nothing was changed, in a line a person can act upon."""


def new(name: str, port: str) -> None:
    service = planned(name, port)
    texts = shared_texts(service, added)
    with tempfile.TemporaryDirectory() as folder:
        write_folder(service, Path(folder))
        shutil.copytree(Path(folder, service.name), service.folder)
    for file, text in texts.items():
        file.write_text(text)
    print(f"{service.name} is there, on port {port}. Start reading at {service.name}/README.md")


def remove(name: str) -> None:
    service = next((s for s in SERVICES if s.short == name), None)
    if service is None:
        raise Refused(f"There is no {name}-service")
    texts = shared_texts(service, removed)
    if work := sorted(uncommitted_work(service)):
        raise Refused(f"Commit this first, or delete it: {', '.join(work)}")
    shutil.rmtree(service.folder)
    for file, text in texts.items():
        file.write_text(text)
    print(f"{service.name} is gone; its data stay until `make reset`")


def planned(name: str, port: str) -> Service:
    """The service to be made. Raises Refused for a name or port that is odd or taken."""
    if not NAME.fullmatch(name) or name in RESERVED:
        raise Refused(
            f"NAME is a word of lower-case letters and digits, as in billing; not {name!r}"
        )
    if not port.isascii() or not port.isdecimal() or int(port) not in PORTS:
        raise Refused(f"PORT is a number from {PORTS[0]} to {PORTS[-1]}, as in 8005; not {port!r}")
    service = Service(name, int(port))
    if service.folder.exists():
        raise Refused(f"There is a {service.name} already")
    for place, pattern in NAMED.items():
        if re.search(pattern.replace("NAME", name), (ROOT / place).read_text(), re.M):
            raise Refused(f"{place} has something else called {name}: take another NAME")
    for owner, taken in default_ports().items():
        if taken in (service.port, service.redis_port):
            raise Refused(f"Port {taken} is {owner}'s: take another PORT than {port}")
    return service


def rendered(text: str, service: Service) -> str:
    """A text of the template, about this service."""
    name = service.short
    new = {"acme": name, "Acme": name.capitalize(), "ACME": name.upper(), "8099": service.port}
    return re.sub("|".join(new), lambda found: str(new[found[0]]), text)


def write_folder(service: Service, root: Path) -> None:
    """The service's own files; sorted and wrapped again, since names differ in length and order."""
    shutil.copy(ROOT / "pyproject.toml", root)
    source = TEMPLATE / "acme-service"
    for file in filter(Path.is_file, source.rglob("*")):
        if "__pycache__" not in file.parts:
            path = root / service.name / rendered(str(file.relative_to(source)), service)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(rendered(file.read_text(), service))
    for order in (["check", "--fix", "--exit-zero"], ["format"], ["check", "--add-noqa"]):
        ruff = [sys.executable, "-m", "ruff", *order, "--quiet", "--no-cache"]
        run([*ruff, str(root / service.name)])


def shared_texts(service: Service, change: Callable[..., str]) -> dict[Path, str]:
    """What the shared files will say. Raises Refused where they are not as expected."""
    texts: dict[Path, str] = {}
    for place in tomllib.loads((TEMPLATE / "places.toml").read_text())["place"]:
        file = ROOT / place["file"]
        text = texts.get(file) or file.read_text()
        texts[file] = change(text, rendered(place["text"], service), place)
    return texts


def added(text: str, addition: str, place: dict[str, str]) -> str:
    found = re.search(place["before"], text, re.M)
    if found is None:
        raise Refused(f"{place['file']} has no line any more that matches {place['before']!r}")
    return text[: found.start()] + addition + text[found.start() :]


def removed(text: str, addition: str, place: dict[str, str]) -> str:
    if addition not in text:
        start = addition.strip().splitlines()[0]
        raise Refused(f"{place['file']} no longer has what new-service wrote, from {start!r} on")
    return text.replace(addition, "", 1)


def uncommitted_work(service: Service) -> Iterator[str]:
    """Files of the service that are neither in git as they are nor what `new` would write."""
    status = ["git", "-C", str(ROOT), "status", "--porcelain", "--no-renames", "-z", "-uall"]
    changed = [line[3:] for line in run([*status, "--", service.name]).split("\0") if line]
    with tempfile.TemporaryDirectory() as folder:
        write_folder(service, Path(folder))
        for name in [*changed, f"{service.name}/.env"]:
            if (ROOT / name).exists() and content(ROOT / name) != content(Path(folder, name)):
                yield name


def content(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None
