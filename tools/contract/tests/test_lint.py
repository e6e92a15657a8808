"""Lints the OpenAPI documents: a warning counts as an error."""

from tools.contract.documents import FOLDER as DOCUMENTS
from tools.contract.programs import FOLDER, run_successfully

FILES = sorted(DOCUMENTS.glob("*.json"))


def test_spectral_finds_nothing() -> None:
    ruleset = FOLDER / "spectral.yaml"

    run_successfully("spectral", "lint", "--ruleset", ruleset, "--fail-severity", "hint", *FILES)


def test_redocly_finds_nothing() -> None:
    run_successfully("redocly", "lint", "--config", FOLDER / "redocly.yaml", *FILES)
