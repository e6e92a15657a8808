"""http: a request to a URL outside of this platform; it never reaches the internal network."""

import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, JsonValue, StringConstraints

from chassis.errors import Unavailable
from chassis.schemas import Text
from chassis.service_client import parse_retry_after
from chassis.untrusted_http import MAX_RESPONSE_BYTES, NoResponse, UntrustedResponse, parse_url

from .protocol import Done, NonRetryableError, StepAttempt, StepOutput, StepType, register

RETRYABLE_STATUSES = (408, 425, 429)
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,100}$")]
HeaderValue = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{0,2000}$")]
RESERVED_HEADERS = {
    "host", "content-length", "transfer-encoding", "connection", "idempotency-key", "upgrade",
}  # fmt: skip


class HttpOutput(StepOutput):
    status: int
    content_type: str
    text: str
    json_body: JsonValue = Field(alias="json")


@register("http")
class HttpRequest(StepType):
    """Sends JSON and takes JSON or text. Carries the step's Idempotency-Key, and no token."""

    output_model: ClassVar[type[StepOutput]] = HttpOutput
    required_permission: ClassVar[str] = "workflows:start"

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    url: Text = Field(max_length=2000)
    headers: dict[HeaderName, HeaderValue] = Field(default={}, max_length=20)
    body: JsonValue = None

    def perform(self, attempt: StepAttempt) -> Done:
        names = [name for name in self.headers if name.lower() not in RESERVED_HEADERS]
        given = {name: self.headers[name] for name in names}
        headers = {"User-Agent": "workflow-service", **given}
        headers["Idempotency-Key"] = str(attempt.step.key)
        content = b""
        if self.body is not None:
            content = json.dumps(self.body).encode()
            headers = {"Content-Type": "application/json", **headers}
        headers["Content-Length"] = str(len(content))
        host = parse_url(self.url).host
        try:
            send = attempt.neighbours.untrusted_http.request_from_thread
            answer = send(self.method, self.url, headers=headers, content=content)
        except NoResponse as error:
            raise Unavailable(str(error), target=host) from error
        return Done(parse_response(host, answer))


def parse_response(host: str, answer: UntrustedResponse) -> dict[str, Any]:
    """Return what later steps see of a response; raises for a status of 300 or more."""
    if answer.status >= 500 or answer.status in RETRYABLE_STATUSES:
        message = f"answered {answer.status}"
        raise Unavailable(message, retry_after=parse_retry_after(answer.headers) or 1, target=host)
    if answer.status >= 300:
        raise NonRetryableError(f"answered {answer.status}", target=host)
    content_type = answer.headers.get("Content-Type", "")
    text = answer.content.decode(errors="replace").replace("\x00", "")
    found = {"status": answer.status, "content_type": content_type, "text": text, "json": None}
    if "json" in content_type:
        try:
            found["json"] = json.loads(text)
        except (ValueError, RecursionError) as error:
            is_cut = len(answer.content) >= MAX_RESPONSE_BYTES
            fault = f"is longer than {MAX_RESPONSE_BYTES // 1024} KiB" if is_cut else "is not JSON"
            message = f"its answer should be JSON, and {fault}"
            raise NonRetryableError(message, target=host) from error
    return found
