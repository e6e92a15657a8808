"""The real processes (service, worker, scheduler, Redis), to be killed with -9."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import httpx
import psutil
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from communication_service.settings import SERVICE_FOLDER
from tools.localdev.child_process import start_child, stop_child
from tools.localdev.fake_identity import FakeIdentity
from tools.localdev.servers import Redis, reserve_free_port

from .conftest import MailServer

CELERY = [
    "-m",
    "celery",
    "--workdir",
    str(SERVICE_FOLDER),
    "-A",
    "communication_service.celery_app",
]

COMMANDS = {
    "service": [str(SERVICE_FOLDER / "main.py")],
    "worker": [
        *CELERY,
        "worker",
        "--pool",
        "threads",
        "--concurrency",
        "4",
        "--without-gossip",
        "--without-mingle",
    ],
    "scheduler": [*CELERY, "beat"],
}


class Processes:
    """Each runs on a leash, so that none outlives the tests."""

    def __init__(
        self, folder: Path, environment: dict[str, str], redis: Redis, mail_server: MailServer
    ) -> None:
        self.folder, self.environment, self.redis = folder, environment, redis
        self.mail_server = mail_server
        self.commands = {name: [sys.executable, *command] for name, command in COMMANDS.items()}
        for name in ("worker", "scheduler"):
            self.commands[f"another-{name}"] = self.commands[name]
        self.commands["redis"] = redis.command
        self.running: dict[str, Popen[bytes]] = {}
        self.url = f"http://127.0.0.1:{environment['SERVICE_PORT']}"

    def start(self, *names: str) -> None:
        for name in names:
            log = self.folder / f"{name}.log"
            self.running[name] = start_child(self.commands[name], log, self.environment)

    def kill(self, *names: str) -> None:
        """With -9: nothing of the process's own gets a chance to tidy up."""
        for name in list(names):
            leash = self.running.pop(name)
            for process in psutil.Process(leash.pid).children():  # none, if it died by itself
                process.kill()
            stop_child(leash)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()


@contextmanager
def serve_identity(identity: FakeIdentity) -> Iterator[str]:
    """The fake identity as a server, for processes other than this one."""

    async def forward(request: Request) -> Response:
        content = await request.body()
        asked = httpx.Request(
            request.method, str(request.url), headers=request.headers, content=content
        )
        answer = await identity.handle_async_request(asked)
        return Response(await answer.aread(), answer.status_code, answer.headers)

    port = reserve_free_port()
    app = Starlette(routes=[Route("/{path:path}", forward, methods=["GET", "POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@contextmanager
def running_processes(
    folder: Path, identity: FakeIdentity, mail_server: MailServer, environment: dict[str, str]
) -> Iterator[Processes]:
    redis = Redis(folder / "redis", reserve_free_port(), durable=False)
    redis.prepare()
    with serve_identity(identity) as identity_url:
        environment = {
            "PYTHONPATH": f"{SERVICE_FOLDER}:{SERVICE_FOLDER.parent}",
            "SERVICE_PORT": str(reserve_free_port()),
            "IDENTITY_SERVICE_URL": identity_url,
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(mail_server.controller.port),
            **environment,
            "REDIS_URL": redis.get_url(0),
            "CELERY_BROKER_URL": redis.get_url(1),
        }
        processes = Processes(folder, environment, redis, mail_server)
        processes.start("redis", "service", "worker", "scheduler")
        wait_for(lambda: "ready." in processes.log("worker"))
        wait_for(lambda: is_ready(processes.url))
        yield processes
        processes.kill(*processes.running)


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def wait_for(condition: Callable[[], bool], *, seconds: float = 40) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.1)
