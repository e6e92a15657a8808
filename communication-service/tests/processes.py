"""Runs the real processes (service, worker, scheduler, Redis), which tests kill with -9."""

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
from tools.localdev.layout import is_responding
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
    """Starts and kills the processes; each is a child that ends with the tests."""

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
        """Kills with -9, so that a process cannot clean up."""
        for name in list(names):
            child = self.running.pop(name)
            for process in psutil.Process(child.pid).children():  # empty when it has ended already
                process.kill()
            stop_child(child)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()


@contextmanager
def serve_identity(identity: FakeIdentity) -> Iterator[str]:
    """Serves the fake identity over HTTP, for other processes."""

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
    return is_responding(f"{url}/health/ready")


def wait_for(condition: Callable[[], bool], *, seconds: float = 40) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.1)
