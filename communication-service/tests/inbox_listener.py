"""A client of the live inbox that records the events it gets."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx

from tools.localdev.fake_identity import Person

from .conftest import Caller
from .processes import wait_for


class Listener:
    """Reads a stream as a browser's EventSource does, and keeps the events."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.events: list[dict[str, Any]] = []
        self.ended = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()
        wait_for(lambda: bool(self.events), seconds=5)

    def _listen(self) -> None:
        fields: dict[str, str] = {}
        try:
            for line in self.response.iter_lines():
                name, _, value = line.partition(": ")
                if line:
                    fields[name] = value
                elif "data" in fields:
                    self.events.append({**fields, "at": time.monotonic()})
                    fields = {}
        except httpx.HTTPError:
            pass
        self.ended.set()

    def has_heard(self, number: int) -> bool:
        return len(self.subjects) >= number

    @property
    def subjects(self) -> list[str]:
        items = [event for event in self.events if event["event"] == "item"]
        return [json.loads(item["data"])["subject"] for item in items]

    @property
    def last_event_id(self) -> str:
        return str(self.events[-1]["id"])


@contextmanager
def listening(url: str, person: Caller | Person, last_event_id: str = "") -> Iterator[Listener]:
    headers = {"Authorization": person.headers["Authorization"]}
    headers |= {"Last-Event-ID": last_event_id} if last_event_id else {}
    timeout = httpx.Timeout(10, read=None)
    with (
        httpx.Client(base_url=f"{url}/api/v1", headers=headers, timeout=timeout) as client,
        client.stream("GET", "/inbox/stream") as response,
    ):
        assert response.status_code == 200, response.read()
        yield Listener(response)
        connection = response.extensions["network_stream"].get_extra_info("socket")
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)  # close() alone waits for the reader
