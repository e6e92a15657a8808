"""`make docs-test`: every block of a document that is marked `bash run`, run as it is written.

A document's blocks are one script, in a copy of this repository, on the ports that everybody uses.
"""

import os
import re
from pathlib import Path

import pytest

from tests.repository_copy import copy_repository
from tools.localdev.services import ROOT

BLOCK = re.compile(r"^```bash run\n(.*?)^```", re.M | re.S)
SCRIPTS = {
    path.relative_to(ROOT): "".join(BLOCK.findall(path.read_text()))
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("*/*.md")])
}
DOCUMENTS = [path for path, script in SCRIPTS.items() if script]


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_the_commands_of_a_document_work(document: Path, tmp_path: Path) -> None:
    copy = copy_repository(tmp_path)
    variables = {"STACK": os.getenv("STACK", "")}
    try:
        copy.run_successfully("bash", "-euxc", SCRIPTS[document], **variables)
    finally:
        copy.run_successfully("make", "reset", **variables)
