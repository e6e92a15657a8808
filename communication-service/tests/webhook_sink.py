"""An HTTP server for webhooks, whose answers a test chooses."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

DROPPED = 0  # instead of a status: closes the connection without an answer


class Sink:
    """Keeps what it receives. It gives the `answers` in order, then `always`."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.always: tuple[int, dict[str, str]] = (200, {})
        self.body = b"Hello"
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                sink.received.append(({k.lower(): v for k, v in self.headers.items()}, content))
                status, headers = sink.answer(self.headers.get("webhook-id", ""))
                if status == DROPPED:
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(sink.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(sink.body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def answer(self, webhook_id: str) -> tuple[int, dict[str, str]]:
        return self.answers.pop(0) if self.answers else self.always

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.received]


class HangingSink(Sink):
    """Answers no request until `awake` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.awake = threading.Event()

    def answer(self, webhook_id: str) -> tuple[int, dict[str, str]]:
        self.awake.wait(10)
        return super().answer(webhook_id)


AnySink = TypeVar("AnySink", bound=Sink)


@contextmanager
def running_sink(kind: type[AnySink]) -> Iterator[AnySink]:
    sink = kind()
    thread = threading.Thread(target=sink.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield sink
    finally:
        sink.server.shutdown()
        thread.join()
        sink.server.server_close()
