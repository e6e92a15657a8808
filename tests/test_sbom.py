"""Tests `make sbom`: it lists what the images contain, in a format that tools read."""

import json
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tools.localdev.services import ROOT, SERVICES, Service
from tools.sbom import build_bom, read_lock, write_bom

every_service = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)


def get_pin(file: Path, name: str) -> str:
    [version] = re.findall(rf"^{re.escape(name)}(?:\[.*\])?==(\S+)", file.read_text(), re.M)
    return str(version)


@every_service
def test_the_list_of_an_image_has_fastapi_in_the_pinned_version(
    service: Service, tmp_path: Path
) -> None:
    document = json.loads(write_bom(service, tmp_path).read_text())

    [found] = [each for each in document["components"] if each["name"] == "fastapi"]
    assert document["bomFormat"] == "CycloneDX"
    assert document["metadata"]["component"]["name"] == service.name
    assert found["version"] == get_pin(ROOT / "requirements.shared.txt", "fastapi")
    assert found["purl"] == f"pkg:pypi/fastapi@{found['version']}"
    assert found["hashes"]


@every_service
def test_the_list_has_what_the_requirements_name_and_nothing_that_only_tests_need(
    service: Service,
) -> None:
    names = {component.name for component in build_bom(service).components}

    lines = (service.folder / "requirements.txt").read_text().splitlines()[1:]
    wanted = {Requirement(line.partition(" #")[0]).name for line in lines if line[0] not in "#-"}
    assert wanted | {"starlette", "pydantic-core", "pip"} <= names
    assert not {"pytest", "mypy", "ruff", "supervisor", "colorama"} & names


def test_packages_that_only_the_store_of_files_needs_are_in_the_image_of_content() -> None:
    users = {s.name for s in SERVICES if "s3fs" in {c.name for c in build_bom(s).components}}

    assert users == {"content-service"}


def test_every_package_of_the_lock_is_read() -> None:
    pinned = re.findall(r"^\S+==", (ROOT / "requirements.lock").read_text(), re.M)

    assert len(read_lock()) == len(pinned)
