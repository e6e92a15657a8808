"""The service as a separate process: its memory, and what is left when it is killed."""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest
from sqlalchemy import create_engine, func, update

from content_service.models import Notice, Processing
from content_service.settings import SERVICE_FOLDER
from tools.localdev.child_process import start_child, stop_child
from tools.localdev.layout import is_responding
from tools.localdev.servers import reserve_free_port, wait_until
from tools.localdev.services import ROOT, SERVICES
from tools.localdev.test_servers import TemporaryServers

from .conftest import make_old
from .files import make_pdf

LARGE_FILE_BYTES = 200 * 1024**2
MAX_MEMORY_BYTES = 64 * 1024**2

# The service with a user whose token is their id, and a communication that writes down the key of
# each notification and answers only from the second one on.
SERVER = """
import asyncio, sys
from pathlib import Path
import httpx, uvicorn
from tools.localdev.fake_identity import FakeIdentity
from content_service.main import app

port, person, reader, folder = sys.argv[1:]
keys = Path(folder, "keys")

class Neighbours(FakeIdentity):
    async def handle_async_request(self, request):
        if request.url.host != "communication-service":
            return await super().handle_async_request(request)
        is_first = not keys.exists()
        with keys.open("a") as file:
            print(request.headers["Idempotency-Key"], file=file)
        await asyncio.sleep(60 * is_first)
        return httpx.Response(202, json={})

app.state.transport = identity = Neighbours()
token = identity.add_person("documents:read", "documents:write", user_id=person).token
identity.answers[person] = identity.answers[token]
identity.add_person(user_id=reader)
uvicorn.run(app, port=int(port), log_config=None)
"""


class Server:
    """Runs a content service with its own database and files, which can be killed."""

    def __init__(self, servers: TemporaryServers) -> None:
        content = next(service for service in SERVICES if service.short == "content")
        self.folder = Path(tempfile.mkdtemp(dir=servers.folder))
        self.files = self.folder / "files"
        self.token = str(uuid4())
        self.reader = str(uuid4())
        self.port = reserve_free_port()
        self.database = servers.postgres.create_database("content", f"content_{uuid4().hex}")
        path = os.pathsep.join([str(ROOT), str(SERVICE_FOLDER)])
        files = {"DATABASE_URL": self.database, "STORAGE_URL": self.files.as_uri()}
        own = {"PYTHONPATH": path, "CLEANUP_INTERVAL_SECONDS": "1"}
        self.environment = {**servers.get_environment(content), **os.environ, **files, **own}
        migrate = [sys.executable, "-m", "alembic", "upgrade", "head"]
        subprocess.run(migrate, cwd=SERVICE_FOLDER, env=self.environment, check=True)
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}/api/v1",
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=60,
        )

    def start(self) -> None:
        people = [self.token, self.reader]
        command = [sys.executable, "-c", SERVER, str(self.port), *people, str(self.folder)]
        self.process = start_child(command, self.folder.with_suffix(".log"), self.environment)
        wait_until(
            lambda: is_responding(f"http://127.0.0.1:{self.port}/health/live"), "the service"
        )

    def kill(self) -> None:
        psutil.Process(self.pid).kill()
        stop_child(self.process)

    def end_leases(self, queue: type[Processing | Notice]) -> None:
        """Make the lease of the claimed row expire."""
        engine = create_engine(self.database.replace("postgresql://", "postgresql+psycopg2://"))
        with engine.begin() as connection:
            row = update(queue).where(queue.status == "running")
            assert connection.execute(row.values(lease_until=func.now())).rowcount == 1
        engine.dispose()

    def get_memory(self, name: str) -> int:
        """Return bytes: VmRSS is the current memory of the process, VmHWM its peak."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition(f"{name}:")[2].split()[0]) * 1024

    @property
    def pid(self) -> int:
        (service,) = psutil.Process(self.process.pid).children()
        return service.pid

    def upload(self, content: bytes) -> httpx.Response:
        return self.client.post("/documents/upload", files={"file": ("a.txt", content)})


@pytest.fixture(scope="module")
def server(servers: TemporaryServers) -> Iterator[Server]:
    server = Server(servers)
    server.start()
    with server.client:
        yield server
    stop_child(server.process)


def test_a_file_of_200_megabytes_takes_no_memory(server: Server) -> None:
    server.upload(b"the first one loads what is loaded once")
    before = server.get_memory("VmRSS")

    with tempfile.TemporaryFile() as file:
        for _ in range(LARGE_FILE_BYTES // 2**20):
            file.write(b"x" * 2**20)
        file.seek(0)
        response = server.client.post("/documents/upload", files={"file": ("a.txt", file)})

    assert response.status_code == 201
    assert response.json()["size"] == LARGE_FILE_BYTES
    digest = hashlib.sha256()
    with server.client.stream("GET", f"/documents/{response.json()['id']}/download") as download:
        for chunk in download.iter_bytes():
            digest.update(chunk)
    assert digest.hexdigest() == response.json()["sha256"]
    assert server.get_memory("VmHWM") - before < MAX_MEMORY_BYTES
    for place in ("documents", "trash"):
        assert server.client.delete(f"/{place}/{response.json()['id']}").status_code == 204


def test_a_service_killed_during_uploads_has_each_file_with_its_row(server: Server) -> None:
    accepted = []

    def upload_until_it_dies() -> None:
        with suppress(httpx.TransportError):
            while True:
                accepted.append(server.upload(f"unique {uuid4()}".encode()).json()["id"])

    for _ in range(2):
        with ThreadPoolExecutor(8) as threads:
            uploads = [threads.submit(upload_until_it_dies) for _ in range(8)]
            time.sleep(0.5)
            server.kill()
        for upload in uploads:
            upload.result()
        server.start()

    found = []
    cursor = ""
    while cursor is not None:
        page = server.client.get("/documents", params={"limit": 100, "cursor": cursor}).json()
        found += page["items"]
        cursor = page["next_cursor"]
    assert {document["id"] for document in found} >= set(accepted) != set()
    for document in found:
        response = server.client.get(f"/documents/{document['id']}/download")
        assert hashlib.sha256(response.content).hexdigest() == document["sha256"]
    named = {document["sha256"] for document in found}

    def stored() -> set[str]:
        return {path.name for path in server.files.iterdir() if path.is_file()}

    make_old(*(server.files / name for name in stored()))
    wait_until(lambda: named == stored(), "the cleanup")


def test_work_of_a_killed_service_is_done_once_by_the_next(server: Server) -> None:
    content = make_pdf(*[f"Page {number} of a long report" for number in range(600)])
    document = server.upload(content).json()
    path = f"/documents/{document['id']}"

    def processing() -> Any:
        return server.client.get(f"{path}/processing").json()

    server.client.post(f"{path}/process")
    wait_until(lambda: processing()["status"] == "running", "the work to begin")
    server.kill()
    server.end_leases(Processing)
    server.start()

    wait_until(lambda: processing()["status"] == "done", "the work to be done", 60)
    assert (processing()["attempts"], processing()["page_count"]) == (2, 600)


def test_a_killed_service_sends_the_notice_again_under_the_same_key(server: Server) -> None:
    """Communication accepts a key once, so the user gets one notification."""
    document = server.upload(b"shared").json()
    path = f"/documents/{document['id']}/permissions/{server.reader}"
    keys = server.folder / "keys"

    assert server.client.put(path, json={"level": "read"}).status_code == 200
    wait_until(keys.exists, "the notification")
    server.kill()
    server.end_leases(Notice)
    server.start()

    wait_until(lambda: len(keys.read_text().split()) == 2, "the second notification")
    first, second = keys.read_text().split()
    assert first == second
