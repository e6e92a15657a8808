"""Tokens: for other services, which validate tokens, get their own and follow changes of users."""

import json
from typing import Annotated

from fastapi import Depends, Form, Query, Request
from fastapi.responses import JSONResponse

from chassis.auth import User, get_bearer_token, require_permission
from chassis.errors import PayloadTooLarge, Unauthenticated, Unavailable
from chassis.openapi import raises
from chassis.routing import APIRouter
from chassis.schemas import check_text

from .. import change_feed
from ..audit import remember_origin
from ..crypto.tokens import InvalidToken
from ..database import DbSession
from ..machine_access import service_clients
from ..machine_access.service_clients import DelegationDenied, InvalidClient
from ..rate_limits import Limiter, TooManyAttempts
from ..schemas.events import ChangeFeed
from ..schemas.tokens import AccessToken, ClientCredentials, ValidatedToken, ValidationRequest
from ..token_validation import get_token_validator

router = APIRouter(prefix="/auth", tags=["Tokens"])

FeedReader = Annotated[User, require_permission("auth:changes")]

# The body is read by hand: one that is malformed is answered like an invalid token.
TOKEN_IN_HEADER_OR_BODY = {
    "requestBody": {
        "content": {"application/json": {"schema": ValidationRequest.model_json_schema()}}
    },
    "security": [{"Bearer": []}, {}],
}


@router.post("/validate", response_model=ValidatedToken, openapi_extra=TOKEN_IN_HEADER_OR_BODY)
@raises(Unauthenticated, InvalidToken, PayloadTooLarge, Unavailable)
async def validate_token(request: Request) -> JSONResponse:
    """Tell whose token it is and what they may do now.

    Send it as a bearer token or in the body.
    """
    token = await get_presented_token(request)
    return JSONResponse(await get_token_validator(request.app).validate(token))


async def get_presented_token(request: Request) -> str:
    """Prefers the header. Raises InvalidToken for a malformed body, as for an invalid token."""
    if "authorization" in request.headers:
        return get_bearer_token(request)
    try:
        return check_text(str(json.loads(await request.body())["token"]))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InvalidToken from error


@router.post("/token", response_model=AccessToken, dependencies=[Depends(remember_origin)])
@raises(InvalidClient, DelegationDenied, TooManyAttempts)
async def issue_token(
    credentials: Annotated[ClientCredentials, Form()], limiter: Limiter, session: DbSession
) -> AccessToken:
    """Issue a token to a service (OAuth2 client credentials), also to act on behalf of a user."""
    return await service_clients.issue_client_token(session, limiter, credentials)


@router.get("/changes", response_model=ChangeFeed)
async def poll_changes(
    request: Request,
    reader: FeedReader,
    after: Annotated[
        int | None, Query(ge=0, lt=2**63, description="The `latest` of the previous response.")
    ] = None,
    wait: Annotated[
        float, Query(ge=0, le=2, description="Seconds to wait for the next change.")
    ] = 2,
) -> ChangeFeed:
    """Read the change feed: users whose cached permissions must be dropped.

    A long poll: waits up to `wait` seconds for a change after `after`.
    """
    notifier = change_feed.get_change_notifier(request.app)
    return await change_feed.poll_changes(notifier, after, wait)
