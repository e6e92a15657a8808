"""A mail catcher: accepts every mail by SMTP, shows it on a page and as JSON like MailDev.

`python -m tools.localdev.mail_catcher FOLDER SMTP_PORT PAGE_PORT`. No mail leaves this machine.

GET /email?to=&q=&limit=   mails without their HTML, oldest first; `limit` keeps the newest
GET /email/{id}            one mail; /email/{id}/html is its HTML alone
DELETE /email/{id}         deletes one mail; DELETE /email/all deletes all
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from .mailbox import Mailbox
from .servers import HOST

PAGE = Path(__file__).with_name("mail_page")
# Mail is untrusted: it runs no script, loads nothing, and its links open in a new tab.
MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:;"
    " sandbox allow-popups allow-popups-to-escape-sandbox"
)
OPEN_LINKS_IN_NEW_TAB = '<base target="_blank">'


class Receiver:
    """Handles SMTP for aiosmtpd: the sender gets the answer once the mail is on disk."""

    def __init__(self, box: Mailbox) -> None:
        self.box = box

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        await asyncio.to_thread(self.box.store, envelope.original_content or b"")
        return "250 Accepted"


def create_app(box: Mailbox, smtp_port: int) -> Starlette:
    """Create the app with the page and the API; it runs the SMTP server during its lifespan."""

    @asynccontextmanager
    async def run_smtp(_: Starlette) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        receiver = Receiver(box)
        async with await loop.create_server(lambda: SMTP(receiver, loop=loop), HOST, smtp_port):
            yield

    async def list_messages(request: Request) -> Response:
        etag = f'"{box.version}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304)
        limit = request.query_params.get("limit", "")
        if not (limit.isdecimal() or limit == ""):
            raise HTTPException(422, "limit must be a number")
        to, query = (request.query_params.get(name, "") for name in ("to", "q"))
        listed = box.list_messages(to, query, int(limit) if limit else None)
        return Response(listed, media_type="application/json", headers={"ETag": etag})

    def read_message(request: Request) -> Response:
        return JSONResponse(box.read_message(request.path_params["name"]))

    def read_html(request: Request) -> Response:
        html = box.read_message(request.path_params["name"])["html"]
        policy = {"Content-Security-Policy": MAIL_POLICY}
        return HTMLResponse(OPEN_LINKS_IN_NEW_TAB + (html or ""), headers=policy)

    async def delete_message(request: Request) -> Response:
        box.delete(request.path_params["name"])
        return JSONResponse(True)

    async def delete_all(_: Request) -> Response:
        box.delete_all()
        return JSONResponse(True)

    def say_unknown(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": "Email was not found"}, 404)

    routes = [
        Route("/email", list_messages),
        Route("/email/all", delete_all, methods=["DELETE"]),
        Route("/email/{name}", read_message),
        Route("/email/{name}", delete_message, methods=["DELETE"]),
        Route("/email/{name}/html", read_html),
        Route("/healthz", lambda _: JSONResponse(True)),
        Mount("/", StaticFiles(directory=PAGE, html=True)),
    ]
    return Starlette(routes=routes, lifespan=run_smtp, exception_handlers={KeyError: say_unknown})


if __name__ == "__main__":
    folder, smtp_port, page_port = sys.argv[1:]
    application = create_app(Mailbox(Path(folder)), int(smtp_port))
    print(
        f"mail catcher: SMTP on {HOST}:{smtp_port}, page on http://{HOST}:{page_port}", flush=True
    )
    uvicorn.run(application, host=HOST, port=int(page_port), log_level="warning")
