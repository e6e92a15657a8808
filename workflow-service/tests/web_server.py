"""A web server outside the platform, for steps that call URLs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ADDRESS = "127.0.0.2"

Response = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""


@dataclass
class WebServer:
    """Records the requests to a server that sends its responses in order and repeats the last."""

    url: str
    responses: list[Response]
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def serve_web(*responses: Response) -> Iterator[WebServer]:
    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            web.requests.append((f"{self.command} {self.path}", headers, body))
            status, headers, content = web.responses[0]
            web.responses = web.responses[1:] or web.responses
            self.send_response(status)
            for header in (headers | {"Content-Length": str(len(content))}).items():
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = respond

        def log_message(self, *_: Any) -> None:
            """Writes no line for each request."""

    server = ThreadingHTTPServer((ADDRESS, 0), Handler)
    web = WebServer(f"http://{ADDRESS}:{server.server_port}", list(responses))
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield web
    server.shutdown()
    server.server_close()
