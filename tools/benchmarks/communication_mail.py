"""A mail server that discards every mail, and the SMTP client that measures it.

`python -m tools.benchmarks.communication_mail serve PORT DELAY` runs the server, which answers each
mail after DELAY seconds, as a distant server would. `... send PORT COUNT` is the client.
"""

import asyncio
import os
import smtplib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from tools.localdev.child_process import start_child, stop_child
from tools.localdev.servers import reserve_free_port
from tools.localdev.services import ROOT

BODY = "On the Analytical Engine. " * 20


@dataclass
class DiscardingHandler:
    """Accepts each mail after a delay and discards it."""

    delay: float

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        await asyncio.sleep(self.delay)
        return "250 Accepted"


async def run_server(port: int, delay: float) -> None:
    loop = asyncio.get_running_loop()
    handler = DiscardingHandler(delay)
    async with await loop.create_server(lambda: SMTP(handler), "127.0.0.1", port) as server:
        await server.serve_forever()


def send_mails(port: int, count: int) -> float:
    """Send a prepared mail in a loop over one connection, and return mails per second."""
    message = f"Subject: Hello\r\nMessage-ID: <1@example.com>\r\n\r\n{BODY}\r\n".encode()
    with smtplib.SMTP("127.0.0.1", port, "example.com") as smtp:
        began = time.perf_counter()
        for _ in range(count):
            smtp.sendmail("notifications@example.com", ["rita@example.com"], message)
        return count / (time.perf_counter() - began)


@contextmanager
def run_mail_server(delay: float) -> Iterator[int]:
    """Run the server in a process of its own; yield its port."""
    port = reserve_free_port()
    command = [sys.executable, "-m", "tools.benchmarks.communication_mail", "serve"]
    command += [str(port), str(delay)]
    child = start_child(command, Path(os.devnull), {**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        yield port
    finally:
        stop_child(child)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(run_server(int(sys.argv[2]), float(sys.argv[3])))
    else:
        print(send_mails(int(sys.argv[2]), int(sys.argv[3])))
