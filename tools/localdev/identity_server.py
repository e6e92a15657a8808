"""A stand-in for identity-service, to develop one service without the others.

`python -m tools.localdev.identity_server PORT`. Any email logs in, with any password, and has every
permission; only `outsider@...` has none. All tokens are lost when it stops.
"""

import sys
import uuid

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tools.localdev.fake_identity import FakeIdentity


def create_app(identity: FakeIdentity) -> Starlette:
    """Serve FakeIdentity over HTTP, with a login and a logout."""

    async def log_in(request: Request) -> Response:
        email = str((await request.json())["email"])
        permissions = [] if email.startswith("outsider@") else ["*"]
        user_id = str(uuid.uuid5(uuid.NAMESPACE_DNS, email))  # the same after a restart
        person = identity.add_person(*permissions, name=email.partition("@")[0], user_id=user_id)
        tokens = {"access_token": person.token, "refresh_token": person.token, "expires_in": 900}
        return JSONResponse({**tokens, "token_type": "bearer", "user_id": person.user_id})

    async def log_out(request: Request) -> Response:
        ended = identity.answers.pop(request.headers["authorization"].removeprefix("Bearer "))
        change = {"user_id": ended["user_id"], "session_id": ended["session_id"]}
        identity.changes.append({"seq": len(identity.changes) + 1, **change})
        return Response(status_code=204)

    async def forward_to_fake(request: Request) -> Response:
        body = await request.body()
        sent = httpx.Request(
            request.method, str(request.url), headers=request.headers.raw, content=body
        )
        try:
            answer = await identity.handle_async_request(sent)
        except KeyError:
            return JSONResponse({"detail": "The stand-in for identity has no such path"}, 404)
        return Response(answer.content, answer.status_code, media_type="application/json")

    routes = [
        Route("/api/v1/auth/login", log_in, methods=["POST"]),
        Route("/api/v1/auth/logout", log_out, methods=["POST"]),
        Route("/health/ready", lambda _: JSONResponse({"status": "ready"})),
        Route("/{path:path}", forward_to_fake, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
    ]
    return Starlette(routes=routes)


if __name__ == "__main__":
    uvicorn.run(create_app(FakeIdentity()), host="0.0.0.0", port=int(sys.argv[1]))
