"""Sends requests made from each document, right and wrong ones, and checks every response."""

import pytest

from tests.conftest import Stack
from tests.users import DEMO_PASSWORD
from tools.contract.documents import get_document_file
from tools.contract.programs import BUILD, FOLDER, run_successfully
from tools.localdev.services import SERVICES, Service

CALLERS = {"anonymous": "", "ordinary": "editor@example.com", "administrator": "admin@example.com"}
# Identity comes last, because an administrator's requests may lock users there.
CASES = [(service, caller) for service in reversed(SERVICES) for caller in CALLERS]


@pytest.mark.parametrize(
    ("service", "caller"), CASES, ids=[f"{service.short} {caller}" for service, caller in CASES]
)
def test_every_response_is_as_the_document_says(
    stack: Stack, service: Service, caller: str
) -> None:
    report = BUILD / "reports" / f"{service.short}-{caller}.html"
    command: list[object] = ["schemathesis", "--config-file", FOLDER / "schemathesis.toml", "run"]
    command += [get_document_file(service), "--url", stack.get_url(service.name)]

    variables = {
        "LOGIN_URL": f"{stack.get_url('identity-service')}/api/v1/auth/login",
        "EMAIL": CALLERS[caller],
        "PASSWORD": DEMO_PASSWORD,
    }

    run_successfully(*command, "--report-html-path", report, variables=variables)
