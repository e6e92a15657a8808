"""`make sbom`: writes which packages the image of each service contains, in CycloneDX.

They are the requirements of its Dockerfile, and what needs them according to requirements.lock,
where "# via" names the packages that need a package.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.localdev.services import ROOT, SERVICES, Service

FOLDER = ROOT / "sbom"
LOCKED_PATTERN = re.compile(
    r"^(?P<name>\S+)==(?P<version>\S+)( ; (?P<marker>.+))? \\"
    r"(?P<hashes>(\n    --hash=.+)+)\n    # via (?P<via>.+)",
    re.M,
)
HASH_PATTERN = re.compile(r"--hash=sha256:(\w+)")
PYTHON_PATTERN = re.compile(r"^FROM python:(\d+\.\d+)", re.M)
INSTALLED_FILE_PATTERN = re.compile(r"pip install -qr (requirements\S*)")
IMAGE_PLATFORM = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}


@dataclass(frozen=True)
class LockedPackage:
    name: str
    version: str
    marker: Marker | None
    hashes: list[str]
    needed_by: list[str]  # names, and `-r` with a file


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for service in SERVICES:
        print(write_bom(service, FOLDER).relative_to(ROOT))


def write_bom(service: Service, folder: Path) -> Path:
    file = folder / f"{service.name}.cdx.json"
    file.write_text(JsonV1Dot6(build_bom(service)).output_as_string(indent=2))
    return file


def build_bom(service: Service) -> Bom:
    dockerfile = (service.folder / "Dockerfile").read_text()
    [file] = INSTALLED_FILE_PATTERN.findall(dockerfile)
    packages = find_packages([*read_requirements(service.folder / file), "pip"])  # in its venv
    python = PYTHON_PATTERN.findall(dockerfile)[-1]
    image = {**IMAGE_PLATFORM, "python_version": python, "python_full_version": f"{python}.999"}
    root = Component(name=service.name, type=ComponentType.CONTAINER)
    components = [build_component(p) for p in packages if not p.marker or p.marker.evaluate(image)]
    bom = Bom(components=components)
    bom.metadata.component = root
    bom.register_dependency(root, components)
    return bom


def read_requirements(file: Path) -> Iterator[str]:
    """Read the names in a requirements file and in the files that it includes."""
    for line in file.read_text().splitlines():
        text = line.partition("#")[0].strip()
        if text.startswith("-r "):
            yield from read_requirements(file.parent / text.removeprefix("-r "))
        elif text:
            yield canonicalize_name(Requirement(text).name)


def find_packages(names: Iterable[str]) -> list[LockedPackage]:
    """Return these packages and all that they need, however indirectly."""
    locked = read_lock()
    needs = defaultdict[str, list[str]](list)
    for package in locked.values():
        for user in package.needed_by:
            needs[user].append(package.name)
    waiting = list(names)
    found = set[str]()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += needs[name]
    return [locked[name] for name in sorted(found)]


@cache
def read_lock() -> dict[str, LockedPackage]:
    packages = map(build_package, LOCKED_PATTERN.finditer((ROOT / "requirements.lock").read_text()))
    return {package.name: package for package in packages}


def build_package(found: re.Match[str]) -> LockedPackage:
    return LockedPackage(
        name=canonicalize_name(found["name"]),
        version=found["version"],
        marker=Marker(found["marker"]) if found["marker"] else None,
        hashes=HASH_PATTERN.findall(found["hashes"]),
        needed_by=found["via"].split(", "),
    )


def build_component(package: LockedPackage) -> Component:
    url = PackageURL("pypi", None, package.name, package.version)
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=value) for value in package.hashes]
    return Component(
        name=package.name, version=package.version, purl=url, bom_ref=str(url), hashes=hashes
    )


if __name__ == "__main__":
    main()
