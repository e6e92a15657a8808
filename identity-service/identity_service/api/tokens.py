"""What other services ask: is this token good, give me one, what has changed."""

import json
from typing import Annotated

from fastapi import Depends, Form, Query, Request
from fastapi.responses import JSONResponse

from chassis.auth import User, get_bearer_token, require_permission
from chassis.routing import APIRouter
from chassis.schemas import check_text

from .. import change_feed
from ..audit import remember_origin
from ..crypto.tokens import InvalidToken
from ..database import DbSession
from ..machine_access import service_clients
from ..rate_limits import Limiter
from ..schemas.bodies import (
    AccessToken,
    ChangeFeed,
    ClientCredentials,
    ValidatedToken,
    ValidationRequest,
)

router = APIRouter(prefix="/auth")

FeedReader = Annotated[User, require_permission("auth:changes")]

VALIDATION_BODY = {
    "content": {"application/json": {"schema": ValidationRequest.model_json_schema()}}
}


@router.post(
    "/validate", response_model=ValidatedToken, openapi_extra={"requestBody": VALIDATION_BODY}
)
async def validate_token(request: Request) -> JSONResponse:
    """Whose token it is and what they may do now. It comes as a bearer token or in the body."""
    token = await get_presented_token(request)
    return JSONResponse(await request.app.state.token_validator(token))


async def get_presented_token(request: Request) -> str:
    """The header wins. Whatever is not a token is an invalid one: callers look at the status."""
    if "authorization" in request.headers:
        return get_bearer_token(request)
    try:
        return check_text(str(json.loads(await request.body())["token"]))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InvalidToken from error


@router.post("/token", response_model=AccessToken, dependencies=[Depends(remember_origin)])
async def issue_token(
    given: Annotated[ClientCredentials, Form()], limiter: Limiter, session: DbSession
) -> object:
    """A token for a service (OAuth2 client credentials), its own or on behalf of a user."""
    return await service_clients.issue_client_token(session, limiter, given)


@router.get("/changes", response_model=ChangeFeed)
async def poll_changes(
    request: Request,
    follower: FeedReader,
    after: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
    wait: Annotated[float, Query(ge=0, le=2)] = 2,
) -> object:
    """Whose kept answers to drop, in order; held for `wait` seconds while there is nothing."""
    return await change_feed.poll_changes(request.app.state.change_notifier, after, wait)
