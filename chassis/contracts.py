"""What services use of each other: operations, what is sent, and the fields that are read.

The calls of every service are here, those of one service in `contracts.py` of its package. Code
calls a neighbour only with such a NeighbourCall, which parses the response into the declared fields
and drops all others: what is not declared cannot be used. tests/test_contracts.py compares the
declarations with the neighbours' OpenAPI documents, and each neighbour's tests replay them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from types import NoneType
from typing import Any, Generic, Literal, NotRequired, TypeVar
from urllib.parse import urlencode

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from .auth import User
from .errors import BadGateway
from .service_client import ServiceClient, run_from_thread

FORM_HEADERS = {"Content-Type": "application/x-www-form-urlencoded"}

Body = TypeVar("Body")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class NeighbourCall(Generic[Body, Answer]):
    """Declares an operation of a neighbour; `{names}` in the path are filled in at each call."""

    provider: str
    method: str
    path: str
    reads: type[Answer]
    sends: type[Body]
    query: Sequence[str] = ()
    is_form: bool = False

    @cached_property
    def answer_adapter(self) -> TypeAdapter[Answer]:
        return TypeAdapter(self.reads)

    async def make(
        self,
        client: ServiceClient,
        body: Body | None = None,
        *,
        path: Mapping[str, object] | None = None,
        params: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Answer:
        """Make the call; `options` and errors are those of ServiceClient.make_request."""
        if unknown := {*(params or ())} - {*self.query}:
            raise ValueError(f"{self.path} is not declared with the parameters {unknown}")
        if params:
            options["params"] = params
        if self.is_form:
            options.update(headers=FORM_HEADERS, content=urlencode(body or {}))  # type: ignore[arg-type]
            body = None
        endpoint = self.path.format(**path or {})
        return self.parse(await client.make_request(self.method, endpoint, body, **options))

    def make_from_thread(self, *args: Any, **kwargs: Any) -> Answer:
        """Make the call from a thread: a `def` endpoint or a Celery task."""
        answer: Answer = run_from_thread(partial(self.make, *args, **kwargs))
        return answer

    def parse(self, answer: Any) -> Answer:
        """Keep the declared fields. Raises BadGateway when one is missing or of another type."""
        try:
            return self.answer_adapter.validate_python(answer)
        except ValidationError as error:
            field = ".".join(map(str, error.errors()[0]["loc"]))
            message = f"{self.provider}-service sent an unexpected response: {field or 'body'}"
            raise BadGateway(message, target=f"{self.provider}-service") from error


# -- the calls of every service -----------------------------------------------------------------


class Change(TypedDict):
    user_id: str | None
    session_id: str | None


class ChangeFeed(TypedDict):
    latest: int
    reset: bool
    changes: list[Change]


class TokenRequest(TypedDict):
    grant_type: str
    client_id: str
    client_secret: str
    on_behalf_of: NotRequired[str]


class ServiceToken(TypedDict):
    access_token: str
    expires_in: float


class NewNotification(TypedDict):
    recipient_id: str
    category: str
    subject: NotRequired[str]
    body: NotRequired[str]
    template: NotRequired[str]
    variables: NotRequired[dict[str, Any]]
    channels: NotRequired[list[Literal["email", "in_app"]]]


VALIDATE_TOKEN = NeighbourCall("identity", "POST", "/api/v1/auth/validate", User, NoneType)
POLL_CHANGES = NeighbourCall(
    "identity", "GET", "/api/v1/auth/changes", ChangeFeed, NoneType, query=("after", "wait")
)
REQUEST_TOKEN = NeighbourCall(
    "identity", "POST", "/api/v1/auth/token", ServiceToken, TokenRequest, is_form=True
)
HAND_OVER_NOTIFICATION = NeighbourCall(
    "communication", "POST", "/api/v1/notifications", object, NewNotification
)
