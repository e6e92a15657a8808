"""Logs schemathesis in, and repairs requests that no schema can describe as right."""

import os
from typing import Any
from uuid import uuid4

import httpx
import schemathesis

LOGIN_URL = os.environ["LOGIN_URL"]
EMAIL = os.environ["EMAIL"]
PASSWORD = os.environ["PASSWORD"]


class Login:
    """Gets a token, and another one when a request has ended the session."""

    def get(self, case: schemathesis.Case[Any], context: schemathesis.AuthContext) -> str:
        credentials = {"email": EMAIL, "password": PASSWORD}
        response = httpx.post(LOGIN_URL, json=credentials, timeout=30)
        response.raise_for_status()
        return str(response.json()["access_token"])

    def set(
        self, case: schemathesis.Case[Any], data: str, context: schemathesis.AuthContext
    ) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


if EMAIL:
    schemathesis.auth(retry_on=[401])(Login)


@schemathesis.hook
def before_call(context: Any, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """Repair what is right only for one moment, in requests that are meant to be right.

    A cursor comes from the page before, and an Idempotency-Key belongs to one request.
    """
    if case.meta and case.meta.generation.mode.is_positive:
        if case.query:
            case.query.pop("cursor", None)
        for name in case.headers:
            if name.lower() == "idempotency-key":
                case.headers[name] = uuid4().hex
