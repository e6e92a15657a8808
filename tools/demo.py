"""Shows the main job step by step: a PDF is uploaded, summarised, reviewed and approved.

`make demo` runs it against the running stack. It uses only the services' HTTP APIs, so it is a
tutorial too: read `tell_story` from top to bottom.
"""

import os
import re
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape

IDENTITY = os.getenv("IDENTITY_SERVICE_URL", "http://localhost:8001")
CONTENT = os.getenv("CONTENT_SERVICE_URL", "http://localhost:8002")
COMMUNICATION = os.getenv("COMMUNICATION_SERVICE_URL", "http://localhost:8003")
WORKFLOW = os.getenv("WORKFLOW_SERVICE_URL", "http://localhost:8004")
MAIL = os.getenv("MAIL_URL", "http://localhost:1080")

PDF = Path(__file__).parent / "samples" / "closing-the-mill-race.pdf"
PASSWORD = "the wheel turns on sundays"
DEMO_PASSWORD = os.getenv("DEMO_PASSWORD", "demo-password-1")
REVIEWER = "reviewer@example.com"
STEP_TIMEOUT_SECONDS = 60
SHOWN_ITEMS = 3
MAX_LINE_LENGTH = 110
TOKEN_IN_LINK = re.compile(r"([?&#/]\w*token[=/])[^\s&]+")

console = Console(highlight=False, soft_wrap=True)

Event = tuple[datetime, str, str]  # time, service and description


class DemoError(Exception):
    """Raised with one line that says why the demo cannot go on, and what to do."""


def tell_story() -> None:
    author = Caller()
    reviewer = Caller()
    email = f"nora-{author.trace_id[:8]}@example.com"

    author.call(
        "A new author registers",
        f"POST {IDENTITY}/api/v1/auth/register",
        json={"name": "Nora Newcomer", "email": email, "password": PASSWORD},
        says=lambda account: f"{account['name']} <{account['email']}> is {account['roles']}",
    )
    author.log_in(email, PASSWORD)
    document = author.call(
        "... and uploads a proposal to the town council",
        f"POST {CONTENT}/api/v1/documents/upload",
        files={"file": (PDF.name, PDF.read_bytes(), "application/pdf")},
        data={"title": "Closing the mill race"},
        says=lambda new: (
            f"{new['filename']}, {new['size']:,} bytes, "
            f"sha256 {new['sha256'][:12]}..., is document {new['id']}"
        ),
    )
    reviewer_id = reviewer.log_in(REVIEWER, DEMO_PASSWORD)
    given = {"document_id": document["id"], "reviewer_id": reviewer_id}
    run = author.call(
        "The author asks for a review",
        f"POST {WORKFLOW}/api/v1/workflows",
        json={"definition": "document-review", "input": given},
        says=lambda run: f"Run {run['id']} of {run['definition']} is {run['status']}",
    )
    task = reviewer.call(
        "The text is extracted and summarised; the reviewer finds a task",
        f"GET {WORKFLOW}/api/v1/tasks",
        until=lambda page: find_first(t for t in page["items"] if t["workflow_id"] == run["id"]),
        says=lambda task: shorten_line(f"{task['title']}: {task['subject']['summary']}"),
    )
    reviewer.await_mail(REVIEWER, about=task["id"])
    reviewer.await_inbox_item(about=task["id"])
    reviewer.call(
        "The reviewer approves",
        f"POST {WORKFLOW}/api/v1/tasks/{task['id']}/complete",
        json={"decision": "approve", "comment": "Clear and fair. Let us vote on it."},
        says=lambda task: f"Task {task['id']} is {task['status']}",
    )
    author.await_mail(email, about="approved")
    author.await_inbox_item()
    run = author.call(
        "The run is complete",
        f"GET {WORKFLOW}/api/v1/workflows/{run['id']}",
        until=lambda run: run["status"] in ("completed", "failed") and run,
        says=lambda run: run["error"] or f"{run['status']}: {run['output']['decision']}",
    )
    if run["status"] != "completed":
        raise DemoError(f"the run failed: {run['error']}")
    show_timeline(author, run, document)


@dataclass
class Caller:
    """Calls the services as one user, with one trace id for everything."""

    trace_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    headers: dict[str, str] = field(default_factory=dict)

    def call(
        self,
        what: str,
        call: str,
        *,
        says: Callable[[Any], str],
        until: Callable[[Any], Any] = lambda answer: answer or True,
        **content: Any,
    ) -> Any:
        """Print and make an HTTP call; repeat it `until` the answer contains what is expected."""
        console.print(f"\n[bold]{what}[/]")
        started = time.monotonic()
        response = self.send_request(call, **content)
        while not (found := until(response.json())):
            if time.monotonic() - started > STEP_TIMEOUT_SECONDS:
                late = f"{STEP_TIMEOUT_SECONDS} seconds"
                raise DemoError(f"{call} shows nothing after {late}: see `make logs`")
            time.sleep(0.1)
            response = self.send_request(call, **content)
        seconds = time.monotonic() - started
        console.print(f"  [cyan]{call}[/] [green]{response.status_code}[/] [dim]{seconds:.2f} s[/]")
        console.print(f"  {escape(says(found))}")
        return found

    def send_request(self, call: str, **content: Any) -> httpx.Response:
        method, url = call.split()
        content["headers"] = {"X-Trace-ID": self.trace_id, **self.headers}
        try:
            response = httpx.request(method, url, timeout=STEP_TIMEOUT_SECONDS, **content)
        except httpx.TransportError as error:
            raise DemoError(f"{url} does not answer: start the platform with `make up`") from error
        if response.is_error:
            raise DemoError(f"{call} answered {response.status_code} {response.text}")
        return response

    def log_in(self, email: str, password: str) -> str:
        session = self.call(
            f"{email} logs in",
            f"POST {IDENTITY}/api/v1/auth/login",
            json={"email": email, "password": password},
            says=lambda session: f"a {session['token_type']} token for {session['expires_in']} s",
        )
        self.headers = {"Authorization": f"Bearer {session['access_token']}"}
        return str(session["user_id"])

    def await_mail(self, address: str, about: str = "") -> None:
        def is_meant(mail: Any) -> bool:
            return about in mail["text"] and address in [to["address"] for to in mail["to"]]

        self.call(
            f"{address} receives an email",
            f"GET {MAIL}/email",
            until=lambda mails: find_first(filter(is_meant, mails)),
            says=lambda mail: f"{mail['subject']}\n{quote_mail(mail['text'])}",
        )

    def await_inbox_item(self, about: str = "") -> None:
        self.call(
            "... and finds the notification in the inbox too",
            f"GET {COMMUNICATION}/api/v1/inbox",
            until=lambda page: find_first(item for item in page["items"] if about in item["body"]),
            says=lambda item: item["subject"],
        )


def show_timeline(author: Caller, run: Any, document: Any) -> None:
    """Print what each service recorded, joined by their common trace id."""
    events = [*get_identity_events(run), *get_content_events(author, run, document)]
    events += [*get_workflow_events(author, run), *get_communication_events(author, run)]
    events.sort()
    console.print(f"\n[bold]The whole story, by its trace id {run['trace_id']}[/]")
    for at, service, what in events:
        seconds = (at - events[0][0]).total_seconds()
        console.print(f"  {seconds:7.3f} s  [cyan]{service:<14}[/] {escape(what)}")


def get_identity_events(run: Any) -> Iterator[Event]:
    administrator = Caller()
    administrator.log_in("admin@example.com", DEMO_PASSWORD)
    audit = administrator.call(
        "Identity keeps an audit trail of logins, for administrators",
        f"GET {IDENTITY}/api/v1/audit-events",
        says=lambda page: f"The newest are {name_some(page['items'], 'action')}",
    )
    for event in audit["items"]:
        if event["trace_id"] == run["trace_id"]:
            yield datetime.fromisoformat(event["at"]), "identity", event["action"]


def get_workflow_events(author: Caller, run: Any) -> Iterator[Event]:
    history = author.call(
        "Workflow keeps the history of the run",
        f"GET {WORKFLOW}/api/v1/workflows/{run['id']}/history",
        says=lambda page: f"It begins with {name_some(page['items'], 'type')}",
    )
    for event in history["items"]:
        if event["type"] != "step.ready":  # followed by step.started a moment later
            role = event["data"].get("role", "")  # set for steps that the definition does not name
            what = " ".join(filter(None, [event["type"], event["step"], role]))
            yield datetime.fromisoformat(event["at"]), "workflow", what


def get_content_events(author: Caller, run: Any, document: Any) -> Iterator[Event]:
    trail = author.call(
        "Content keeps the document's audit trail",
        f"GET {CONTENT}/api/v1/documents/{document['id']}/audit",
        says=lambda page: name_some(page["items"], "action"),
    )
    for entry in trail["items"]:
        if entry["trace_id"] == run["trace_id"]:
            through = f" through {entry['acting_service']}" if entry["acting_service"] else ""
            yield datetime.fromisoformat(entry["at"]), "content", entry["action"] + through


def get_communication_events(author: Caller, run: Any) -> Iterator[Event]:
    notifications = author.call(
        "Communication keeps every notification",
        f"GET {COMMUNICATION}/api/v1/notifications",
        says=lambda page: name_some(page["items"], "subject"),
    )
    for notification in notifications["items"]:
        attempts = author.call(
            f"... and each attempt to deliver {notification['subject']!r}",
            f"GET {COMMUNICATION}/api/v1/notifications/{notification['id']}/attempts",
            says=lambda page: ", ".join(f"{a['channel']} {a['outcome']}" for a in page["items"]),
        )
        for attempt in attempts["items"]:
            if attempt["trace_id"] == run["trace_id"]:
                what = f"{attempt['channel']} {attempt['outcome']}: {notification['subject']}"
                yield datetime.fromisoformat(attempt["started_at"]), "communication", what


def find_first(items: Iterable[Any]) -> Any:
    return next(iter(items), None)


def name_some(items: list[dict[str, str]], field: str) -> str:
    """Name the first few items by a field, and say how many more there are."""
    named = ", ".join(item[field] for item in items[:SHOWN_ITEMS])
    more = len(items) - SHOWN_ITEMS
    return f"{named} and {more} more" if more > 0 else named


def quote_mail(text: str) -> str:
    """Quote a mail with short lines, and without the tokens in its links."""
    visible = TOKEN_IN_LINK.sub(r"\1...", text.strip())
    return "\n".join(f"  | {shorten_line(line)}".rstrip() for line in visible.splitlines())


def shorten_line(line: str) -> str:
    return textwrap.shorten(line, MAX_LINE_LENGTH, placeholder=" ...")


def main() -> None:
    started = time.monotonic()
    try:
        tell_story()
    except DemoError as error:
        sys.exit(f"demo: {error}")
    console.print(f"\n[bold green]Done[/] in {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    main()
