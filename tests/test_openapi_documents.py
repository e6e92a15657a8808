"""Compares docs/openapi/ with the documents that the services serve; `make openapi` writes them."""

import pytest

from tools.contract.documents import FOLDER, get_document_file, render_document
from tools.localdev.services import SERVICES, Service


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.short)
def test_the_document_in_the_repository_is_that_of_the_service(service: Service) -> None:
    file = get_document_file(service)
    text = file.read_text() if file.exists() else ""

    assert text == render_document(service), f"{file} is out of date: run `make openapi`"


def test_no_document_is_left_of_a_service_that_is_gone() -> None:
    services = {get_document_file(service) for service in SERVICES}

    assert set(FOLDER.glob("*.json")) - services == set(), "run `make openapi`"
