"""The pages /docs and /redoc, which need no internet; `/` leads to /docs.

In development, /docs has a login by email and password. Its token is in a cookie, which the pages
of all services on this host share, because cookies do not depend on the port.
"""

from contextlib import aclosing
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, RedirectResponse

from .errors import NotFound
from .remote_auth import create_identity_client
from .routing import APIRouter
from .schemas import RequestModel

STATIC_URL = "/static-offline-docs"  # where fastapi_offline serves the files of Swagger UI
LOGIN_PATH = "/api/v1/auth/login"
LOGIN_FORM = (Path(__file__).parent / "docs_login.html").read_text()

router = APIRouter(include_in_schema=False)


class Credentials(RequestModel):
    email: str
    password: str


@router.get("/")
async def redirect_to_docs(request: Request) -> Response:
    return RedirectResponse(request.scope["root_path"] + "/docs")


@router.get("/docs")
async def show_docs(request: Request) -> Response:
    root = request.scope["root_path"]
    page = get_swagger_ui_html(
        openapi_url=root + request.app.openapi_url,
        title=request.app.title,
        swagger_js_url=f"{root}{STATIC_URL}/swagger-ui-bundle.js",
        swagger_css_url=f"{root}{STATIC_URL}/swagger-ui.css",
        swagger_favicon_url=f"{root}{STATIC_URL}/favicon.png",
    )
    html = bytes(page.body).decode()
    if has_login_form(request):
        html = html.replace("<body>", "<body>" + LOGIN_FORM, 1)
    return HTMLResponse(html)


@router.post("/docs/login")
async def log_in(request: Request, credentials: Credentials) -> Any:
    """Pass the login on to identity, of which a browser does not know the address."""
    if not has_login_form(request):
        raise NotFound("Not Found")
    state = request.app.state
    if not hasattr(state, "identity"):  # this is identity
        # With status 307, so that the browser sends the body again.
        return RedirectResponse(request.scope["root_path"] + LOGIN_PATH)
    # Not state.identity, which would log in with the token of this service.
    async with aclosing(create_identity_client(state.settings, state.transport)) as identity:
        return await identity.make_request("POST", LOGIN_PATH, credentials.model_dump())


def has_login_form(request: Request) -> bool:
    return bool(request.app.state.settings.environment == "development")
