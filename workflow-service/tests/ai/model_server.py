"""A server on this machine that speaks the APIs of both model providers."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import SecretStr

SUMMARY = {"summary": "It is about a mill race."}
SUMMARY_JSON = json.dumps(SUMMARY)
OPENAI = {
    "id": "c-1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop",
                 "message": {"role": "assistant", "content": SUMMARY_JSON}}],
    "usage": {"prompt_tokens": 2000, "completion_tokens": 100, "total_tokens": 2100},
}  # fmt: skip
ANTHROPIC = {
    "id": "m-1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
    "stop_sequence": None, "usage": {"input_tokens": 2000, "output_tokens": 100},
    "content": [{"type": "text", "text": SUMMARY_JSON}],
}  # fmt: skip
REPLIES = {"openai": OPENAI, "anthropic": ANTHROPIC}
EMPTY_REPLIES = {
    "openai": OPENAI | {"choices": [{"index": 0, "finish_reason": "content_filter",
                                     "message": {"role": "assistant", "content": None}}]},
    "anthropic": ANTHROPIC | {"content": []},
}  # fmt: skip
PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}


Response = tuple[int, dict[str, str], bytes, float]
"""Status, headers, body, and the seconds to wait before sending them."""


@dataclass
class ModelServer:
    """Represents a provider's HTTP API. It sends its responses in order and repeats the last."""

    name: str
    url: str
    responses: list[Response] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def set_response(
        self, body: Any, status: int = 200, headers: dict[str, str] | None = None, pause: float = 0
    ) -> None:
        self.responses.clear()
        self.add_response(body, status, headers, pause)

    def add_response(
        self, body: Any, status: int = 200, headers: dict[str, str] | None = None, pause: float = 0
    ) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json"} | (headers or {})
        self.responses.append((status, given, content, pause))

    def take_response(self) -> Response:
        return self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a service that has a key for this provider."""
        path = "/v1" if self.name == "openai" else ""
        return {
            f"{self.name}_api_key": SecretStr("a-secret-key"),
            f"{self.name}_base_url": self.url + path,
            "ai_timeout_seconds": 5,
        }


def find_unsupported_keywords(schema: str) -> list[str]:
    """Returns the keywords that Anthropic's structured outputs do not support."""
    keywords = ("minLength", "maxLength", "minimum", "maximum", "maxItems", "pattern")
    return [keyword for keyword in keywords if f'"{keyword}":' in schema]


@contextmanager
def serve_model(name: str) -> Iterator[ModelServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            here.requests.append({"path": self.path, **json.loads(body)})
            here.headers.append({name.lower(): value for name, value in self.headers.items()})
            status, headers, content, pause = here.take_response()
            schema = json.dumps(here.requests[-1].get("output_config"))
            if keywords := find_unsupported_keywords(schema):
                status = 400
                content = json.dumps({"error": {"message": keywords}}).encode()
            time.sleep(pause)
            if status == 0:
                self.connection.close()
                return
            self.send_response(status)
            for header in (headers | {"Content-Length": str(len(content))}).items():
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Writes no line for each request."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here = ModelServer(name, f"http://127.0.0.1:{server.server_port}")
    here.set_response(REPLIES[name])
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield here
    server.shutdown()
    server.server_close()


def build_reply(name: str, text: str) -> dict[str, Any]:
    """Builds a provider's response with this text."""
    found: dict[str, Any] = json.loads(
        json.dumps(REPLIES[name]).replace(json.dumps(SUMMARY_JSON), json.dumps(text))
    )
    return found
