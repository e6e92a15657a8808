"""Writes the OpenAPI document of each service to docs/openapi/, as `make openapi` does."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.localdev.services import ROOT, SERVICES, Service

FOLDER = ROOT / "docs" / "openapi"
PRINT_DOCUMENT = "import json; from main import app; print(json.dumps(app.openapi()))"


def get_document_file(service: Service) -> Path:
    return FOLDER / f"{service.short}.json"


def render_document(service: Service) -> str:
    """Return the document as JSON, paths in the order of the routes.

    A process of its own, without variables and in an empty folder without .env, imports the app:
    the text depends on the code alone, and needs no database.
    """
    path = os.pathsep.join([str(service.folder), str(ROOT)])
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": path}
    command = [sys.executable, "-c", PRINT_DOCUMENT]
    with tempfile.TemporaryDirectory() as folder:
        printed = subprocess.check_output(command, env=environment, cwd=folder, text=True)
    return json.dumps(json.loads(printed), indent=2, ensure_ascii=False) + "\n"


def write_documents() -> None:
    """Write all documents, and delete those of services that are no longer there."""
    FOLDER.mkdir(exist_ok=True)
    texts = {get_document_file(service): render_document(service) for service in SERVICES}
    for file in set(FOLDER.glob("*.json")) - texts.keys():
        file.unlink()
    for file, text in texts.items():
        file.write_text(text)


if __name__ == "__main__":
    write_documents()
