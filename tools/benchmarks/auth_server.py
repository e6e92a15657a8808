"""The app that auth.py measures: endpoints of content, with three kinds of authentication.

`none` has no authentication, `ours` is what every service here does, and `literal` does what the
specification's snippet says: a new HTTP client and a call to identity for each request.
"""

import os
from typing import Annotated, Any
from uuid import UUID

import httpx
from fastapi import Depends, HTTPException, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from chassis.app import create_app
from chassis.auth import USER_ADAPTER
from chassis.routing import APIRouter
from content_service.api.dependencies import Reader
from content_service.api.documents import read_document
from content_service.health import router as health_router
from content_service.settings import settings

USER = {"user_id": os.environ["BENCH_USER_ID"], "email": None}
RIGHTS = {"permissions": ["documents:read"], "expires_at": "2100-01-01T00:00:00+00:00"}
READER = USER_ADAPTER.validate_python({**USER, **RIGHTS, "roles": []})
ANSWER = b"hello"

router = APIRouter(prefix="/bench")


async def ask_identity(
    credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())],
) -> Any:
    async with httpx.AsyncClient() as client:
        headers = {"Authorization": f"Bearer {credentials.credentials}"}
        url = f"{settings.identity_service_url}/auth/validate"
        try:
            response = await client.post(url, headers=headers)
        except httpx.RequestError:
            raise HTTPException(503, "Identity service unavailable") from None
        if response.status_code != 200:
            raise HTTPException(401, "Invalid token")
        return response.json()


AskedReader = Annotated[dict[str, Any], Depends(ask_identity)]


@router.get("/answer/none")
async def answer() -> Response:
    return Response(ANSWER)


@router.get("/answer/ours")
async def answer_a_reader(reader: Reader) -> Response:
    return Response(ANSWER)


@router.get("/answer/literal")
async def answer_after_asking(reader: AskedReader) -> Response:
    return Response(ANSWER)


@router.get("/document/none/{document_id}")
async def read(document_id: UUID, request: Request) -> Response:
    return await read_document(document_id, READER, request)


@router.get("/document/literal/{document_id}")
async def read_after_asking(document_id: UUID, reader: AskedReader, request: Request) -> Response:
    return await read_document(document_id, READER, request)


router.get("/document/ours/{document_id}")(read_document)

app = create_app(settings)
app.include_router(router)
app.include_router(health_router)
