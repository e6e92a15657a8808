"""Background work ends with its process."""

from fastapi.testclient import TestClient

from content_service.main import app

from .conftest import Neighbours, replace_state


class Counting(Neighbours):
    closed = 0

    async def aclose(self) -> None:
        self.closed += 1


def test_a_service_that_stops_has_closed_its_clients() -> None:
    network = Counting()
    with replace_state("transport", network), TestClient(app):
        pass

    assert network.closed == 4  # three to authenticate, and one to communication
