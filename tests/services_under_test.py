"""Lists the folders of all services, for tests that run once per service."""

from typing import Any

from tools.localdev.services import ROOT

SERVICE_FOLDERS = sorted(path.parent for path in ROOT.glob("*-service/main.py"))
PROBLEM = {"type", "title", "status", "detail", "instance", "code", "trace_id"}


def assert_problem(response: Any, status: int) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json().keys() >= PROBLEM
    assert response.json()["status"] == status
    assert response.json()["detail"]
