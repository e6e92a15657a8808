"""A mail catcher: accepts every mail by SMTP, shows it on a page and as JSON like MailDev.

`python -m tools.localdev.mail_catcher FOLDER SMTP_PORT PAGE_PORT`. No mail leaves this machine.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import getaddresses
from html import escape
from pathlib import Path
from typing import Any

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from .servers import HOST


class Mailbox:
    """Stores each message in a file, so that messages survive a restart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Write the mail to disk before the sender gets the answer; called by aiosmtpd."""
        name = f"{time.time_ns()}"
        partial = self.folder / f"{name}.part"
        with partial.open("wb") as file:
            file.write(envelope.original_content or b"")
            os.fsync(file.fileno())
        partial.rename(self.folder / f"{name}.eml")
        return "250 Accepted"

    def list_messages(self) -> list[dict[str, Any]]:
        names = sorted(file.stem for file in self.folder.glob("*.eml"))
        return [self.get_message(name) for name in names]

    def get_message(self, name: str) -> dict[str, Any]:
        """Return one message as JSON. Raises KeyError when the id is unknown."""
        file = self.folder / f"{name}.eml"
        if not name.isdecimal() or not file.exists():
            raise KeyError(name)
        source = file.read_bytes()
        at = datetime.fromtimestamp(int(name) / 1e9, UTC).isoformat(timespec="milliseconds")
        return {"id": name, "time": at, "size": len(source), **parse_message(source)}


def parse_message(source: bytes) -> dict[str, Any]:
    """Parse the parts of a mail that the page shows and tests read."""
    message = message_from_bytes(source, policy=policy.default)
    return {
        "subject": message.get("subject", ""),
        "messageId": message.get("message-id", "").strip("<> "),
        "from": get_addresses(message, "from"),
        "to": get_addresses(message, "to"),
        "headers": {key.lower(): str(value) for key, value in message.items()},
        "text": get_body(message, "plain"),
        "html": get_body(message, "html"),
    }


def get_addresses(message: EmailMessage, header: str) -> list[dict[str, str]]:
    found = getaddresses([str(value) for value in message.get_all(header, [])])
    return [{"address": address, "name": name} for name, address in found]


def get_body(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body(preferencelist=(kind,))
    try:
        return part.get_content() if part else None
    except LookupError:
        return "(in an unknown character set)"


PAGE = """<!doctype html><meta charset="utf-8"><title>Mail</title>
<style>body {{ font: 16px/1.5 system-ui; max-width: 50rem; margin: 2rem auto; padding: 0 1rem }}
details {{ border-bottom: 1px solid #ccc; padding: .5rem 0 }} summary {{ cursor: pointer }}
pre {{ white-space: pre-wrap }} iframe {{ width: 100%; height: 24rem; border: 1px solid #ccc }}
</style><h1>Mail</h1><p>{count}. No mail leaves this machine.</p>{messages}"""

MESSAGE = """<details><summary><b>{subject}</b> to {to}, {time}</summary>
<pre>{headers}</pre>{content}</details>"""


def render_page(messages: list[dict[str, Any]]) -> str:
    """Show all messages, newest first. Mail is untrusted: escaped, and HTML is sandboxed."""
    count = f"{len(messages)} message{'' if len(messages) == 1 else 's'}"
    return PAGE.format(count=count, messages="".join(map(render_message, reversed(messages))))


def render_message(message: dict[str, Any]) -> str:
    content = f"<pre>{escape(message['text'] or '')}</pre>"
    if message["html"]:
        content += f'<iframe sandbox srcdoc="{escape(message["html"])}"></iframe>'
    return MESSAGE.format(
        subject=escape(message["subject"] or "(no subject)"),
        to=escape(", ".join(to["address"] for to in message["to"])),
        time=message["time"],
        headers=escape("\n".join(f"{key}: {value}" for key, value in message["headers"].items())),
        content=content,
    )


def create_app(box: Mailbox, smtp_port: int) -> Starlette:
    """Create the app with the page and the API; it runs the SMTP server during its lifespan."""

    @asynccontextmanager
    async def run_smtp(_: Starlette) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        async with await loop.create_server(lambda: SMTP(box, loop=loop), HOST, smtp_port):
            yield

    def index(_: Request) -> Response:
        return HTMLResponse(render_page(box.list_messages()))

    def list_messages(_: Request) -> Response:
        return JSONResponse(box.list_messages())

    def message(request: Request) -> Response:
        try:
            return JSONResponse(box.get_message(request.path_params["name"]))
        except KeyError:
            return JSONResponse({"error": "Email was not found"}, 404)

    def empty(_: Request) -> Response:
        for file in box.folder.glob("*.eml"):
            file.unlink()
        return JSONResponse(True)

    routes = [
        Route("/", index),
        Route("/email", list_messages),
        Route("/email/all", empty, methods=["DELETE"]),
        Route("/email/{name}", message),
        Route("/healthz", lambda _: JSONResponse(True)),
    ]
    return Starlette(routes=routes, lifespan=run_smtp)


if __name__ == "__main__":
    folder, smtp_port, page_port = sys.argv[1:]
    application = create_app(Mailbox(Path(folder)), int(smtp_port))
    uvicorn.run(application, host=HOST, port=int(page_port), log_level="warning")
