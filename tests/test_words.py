"""Holds names and sentences plain: no private phrases, no riddles, no files that are too long."""

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.localdev.services import ROOT, SERVICES, Service

PHRASES = [
    "whoever", "whom there is not", "for ever", "once more", "good no more", "so often",
    "what came of it", "of before", "mended", "is told", "is asked", "nobody", "the one that",
    "by itself", "be let in", "it refuses to",
]  # fmt: skip
# Between two words of a phrase there may be the end of a line or of a string, or an underscore.
GAP = r"""[\s_"'#>*]+"""
PHRASE = re.compile(
    "|".join(rf"(?<![a-z]){phrase.replace(' ', GAP)}(?![a-z])" for phrase in PHRASES), re.I
)
CONSTANT = re.compile(r"^\s*((?:MOST|LONGEST)_\w+)", re.M)
TEXT_SUFFIXES = {".py", ".md", ".toml", ".yml", ".yaml", ".mk", ".html", ".env", ".example", ".txt"}
OTHER_NAMES = ("Makefile", "Dockerfile", "run")
EXCLUDED = ("CHANGELOG.md", "tests/test_words.py", "tools/samples/", "requirements.lock")
# The user that PostgreSQL runs as when root starts it.
ALLOWED = {("tools/localdev/servers.py", "nobody")}
MAX_LINES = 300


def list_files() -> list[Path]:
    """List the text files of the repository, tracked by git or new."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.check_output(command, cwd=ROOT, text=True).split("\0")
    return [
        ROOT / name
        for name in sorted(set(names))
        if name and not name.startswith(EXCLUDED) and (ROOT / name).is_file()
        if Path(name).suffix in TEXT_SUFFIXES or Path(name).name in OTHER_NAMES
    ]


FILES = list_files()


def find_phrases(file: Path) -> Iterator[str]:
    text = file.read_text()
    name = str(file.relative_to(ROOT))
    for match in PHRASE.finditer(text):
        if (name, match[0].lower()) not in ALLOWED:
            line = text.count("\n", 0, match.start()) + 1
            yield f"{name}:{line}: {' '.join(match[0].split())}"


def test_no_text_has_a_phrase_that_a_newcomer_stumbles_over() -> None:
    found = [place for file in FILES for place in find_phrases(file)]

    assert not found, "\n".join([f"{len(found)} places", *found])


def test_constants_are_limits_by_name() -> None:
    found = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in FILES
        if file.suffix == ".py"
        for name in CONSTANT.findall(file.read_text())
    ]

    assert not found, "\n".join(["Call them MAX_... and name the unit", *found])


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_service_has_no_two_modules_of_one_name(service: Service) -> None:
    """Modules of api/ and schemas/ share the name of the noun they are about."""
    package = service.folder / service.package
    counts = Counter(
        file.stem
        for file in package.rglob("*.py")
        if file.stem not in ("__init__", "service")
        and not {"api", "schemas"} & set(file.relative_to(package).parts)
    )

    assert [name for name, count in counts.items() if count > 1] == []


def test_no_source_file_is_too_long() -> None:
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text().splitlines())
        for file in FILES
        if file.suffix == ".py" and "tests" not in file.relative_to(ROOT).parts
    }

    assert {name: count for name, count in lengths.items() if count > MAX_LINES} == {}
