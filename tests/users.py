"""Users of the platform, and the steps of the main job, over HTTP."""

import ssl
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx

from chassis.settings import DEVELOPMENT_SERVICE_SECRET

PDF = Path(__file__).parent.parent / "tools" / "samples" / "closing-the-mill-race.pdf"
PASSWORD = "a password of the tests"
DEMO_PASSWORD = "demo-password-1"
# A route of each service that every member may ask.
PROTECTED_PATHS = {
    "identity": "/auth/me",
    "content": "/documents",
    "communication": "/inbox",
    "workflow": "/tasks",
}

# Services use plain HTTP here, and loading root certificates would cost 25 ms a call.
WITHOUT_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

Found = TypeVar("Found")


class Stack(Protocol):
    """Controls the running platform; see conftest.py."""

    def get_url(self, name: str) -> str: ...
    def stop(self, name: str) -> None: ...
    def start(self, name: str) -> None: ...
    def kill(self, name: str) -> None: ...
    def freeze(self, name: str) -> None: ...
    def thaw(self, name: str) -> None: ...
    def flush_redis(self, short: str) -> None: ...
    def read_logs(self, name: str) -> str: ...


@dataclass
class Person:
    """Calls services with one user's token and one trace id."""

    stack: Stack
    user_id: str
    email: str
    token: str
    refresh_token: str = ""
    trace_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def request(self, method: str, service: str, path: str, **content: Any) -> httpx.Response:
        """Send a request, such as request("GET", "content", "/documents")."""
        headers = {
            "Authorization": f"Bearer {self.token}",
            "X-Trace-ID": self.trace_id,
            **content.pop("headers", {}),
        }
        return send_request(
            self.stack, method, service, f"/api/v1{path}", headers=headers, **content
        )

    def get(self, service: str, path: str, **content: Any) -> Any:
        return get_json(self.request("GET", service, path, **content))

    def post(self, service: str, path: str, **content: Any) -> Any:
        return get_json(self.request("POST", service, path, **content))


def send_request(
    stack: Stack, method: str, service: str, path: str, **content: Any
) -> httpx.Response:
    url = stack.get_url(f"{service}-service") + path
    return httpx.request(method, url, verify=WITHOUT_CERTIFICATES, timeout=15, **content)


def get_json(response: httpx.Response) -> Any:
    assert response.is_success, f"{response.request.url}: {response.status_code} {response.text}"
    return response.json()


def register(stack: Stack) -> Person:
    """Register a new member."""
    email = f"{uuid.uuid4().hex}@example.com"
    new = {"email": email, "password": PASSWORD, "name": "Tess Tester"}
    get_json(send_request(stack, "POST", "identity", "/api/v1/auth/register", json=new))
    return log_in(stack, email, PASSWORD)


def log_in(stack: Stack, email: str, password: str = DEMO_PASSWORD) -> Person:
    """Log in a demo user, or another user with the password."""
    credentials = {"email": email, "password": password}
    session = get_json(
        send_request(stack, "POST", "identity", "/api/v1/auth/login", json=credentials)
    )
    return Person(
        stack, session["user_id"], email, session["access_token"], session["refresh_token"]
    )


def get_service_token(stack: Stack, service: str, on_behalf_of: str | None = None) -> Person:
    """Get a token for a service, or for a service on behalf of a user."""
    form = {
        "grant_type": "client_credentials",
        "client_id": f"{service}-service",
        "client_secret": DEVELOPMENT_SERVICE_SECRET,
    }
    if on_behalf_of:
        form["on_behalf_of"] = on_behalf_of
    given = get_json(send_request(stack, "POST", "identity", "/api/v1/auth/token", data=form))
    return Person(stack, on_behalf_of or "", "", given["access_token"])


def create_api_key(owner: Person, scopes: list[str]) -> Person:
    """Create an API key of the owner, and return a caller that uses it."""
    new = {"name": "A program", "scopes": scopes}
    key = owner.post("identity", f"/users/{owner.user_id}/api-keys", json=new)
    return Person(owner.stack, owner.user_id, owner.email, key["secret"])


def upload_document(author: Person) -> Any:
    file = (PDF.name, PDF.read_bytes(), "application/pdf")
    return author.post("content", "/documents/upload", files={"file": file})


def start_review(author: Person, reviewer: Person, document: Any) -> Any:
    given = {"document_id": document["id"], "reviewer_id": reviewer.user_id}
    new = {"definition": "document-review", "input": given}
    return author.post("workflow", "/workflows", json=new)


def wait_for_task(reviewer: Person, run: Any, seconds: float = 20) -> Any:
    """Wait for the run's approval task."""

    def find() -> Any:
        tasks = reviewer.get("workflow", "/tasks")["items"]
        return next((task for task in tasks if task["workflow_id"] == run["id"]), None)

    return eventually(find, seconds)


def approve(reviewer: Person, task: Any) -> Any:
    return decide(reviewer, task, "approve", "Clear and fair")


def decide(reviewer: Person, task: Any, decision: str, comment: str) -> Any:
    decided = {"decision": decision, "comment": comment}
    return reviewer.post("workflow", f"/tasks/{task['id']}/complete", json=decided)


def wait_for_run(author: Person, run: Any, seconds: float = 20) -> Any:
    """Wait for the end of the run."""

    def find() -> Any:
        now = author.get("workflow", f"/workflows/{run['id']}")
        return now if now["status"] in ("completed", "failed", "cancelled") else None

    return eventually(find, seconds)


def create_share_link(owner: Person, document: Any) -> Any:
    links = f"/documents/{document['id']}/share-links"
    return owner.post("content", links, json={"policy": "latest"})


def create_belongings(owner: Person) -> dict[str, str]:
    """Create one of everything a user can own; return the ids by path parameter."""
    document = upload_document(owner)
    run = start_review(owner, owner, document)
    message = {"recipient_id": owner.user_id, "subject": "Hello", "body": "Hello"}
    to_unknown_user = {**message, "recipient_id": str(uuid.uuid4()), "channels": ["email"]}
    dead = owner.post("communication", "/notifications", json=to_unknown_user)
    eventually(
        lambda: owner.get("communication", f"/notifications/{dead['id']}")["status"] == "dead"
    )
    hook = {"url": "https://hooks.example.com/", "categories": ["none"]}  # nothing is sent there
    return {
        "user_id": owner.user_id,
        "session_id": owner.get("identity", "/auth/sessions")["items"][0]["id"],
        "document_id": document["id"],
        "number": "1",
        "role": "viewer",
        "link_id": create_share_link(owner, document)["id"],
        "workflow_id": run["id"],
        "task_id": wait_for_task(owner, run, seconds=60)["id"],
        "notification_id": owner.post("communication", "/notifications", json=message)["id"],
        "delivery_id": dead["deliveries"][0]["id"],
        "endpoint_id": owner.post("communication", "/webhook-endpoints", json=hook)["id"],
        "item_id": eventually(lambda: owner.get("communication", "/inbox")["items"])[0]["id"],
        "template_id": owner.get("communication", "/templates")["items"][0]["id"],
    }


def get_mails(stack: Stack, address: str, about: str = "") -> list[Any]:
    """Return the mails to an address that contain `about`; by default all but the first one."""
    caught = httpx.get(f"{stack.get_url('mail')}/email", verify=WITHOUT_CERTIFICATES).json()
    return [
        mail
        for mail in caught
        if address in [to["address"] for to in mail["to"]]
        and (about in mail["text"] if about else "/auth/verify-email?" not in mail["text"])
    ]


def eventually(find: Callable[[], Found | None], seconds: float = 20) -> Found:
    """Poll until `find` returns something."""
    deadline = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < deadline, f"nothing after {seconds} seconds"
        time.sleep(0.05)
    return found
