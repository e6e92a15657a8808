"""Does the platform's main job with the generated clients alone, errors included.

`make contract` runs this with the addresses of the services as IDENTITY_URL and so on. An author
uploads a document and asks for a review, the reviewer approves, the author is notified.
"""

import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from typing import Protocol, TypeVar

import communication_client
import content_client
import identity_client
import workflow_client
from communication_client.api.inbox import list_inbox_items
from communication_client.models import InboxItemPage
from communication_client.models import Problem as CommunicationProblem
from content_client.api.documents import (
    change_document,
    create_document,
    read_document,
    upload_document,
)
from content_client.models import (
    DocumentCreate,
    DocumentUpdate,
    DocumentUpload,
    DocumentUploaded,
    DocumentWithBody,
)
from content_client.models import Problem as ContentProblem
from content_client.types import File
from identity_client.api.login import log_in, read_current_user, register
from identity_client.models import LoginCredentials, Registration, TokenPair, UserRead
from identity_client.models import Problem as IdentityProblem
from workflow_client.api.tasks import complete_task, list_tasks
from workflow_client.api.workflows import read_workflow, start_workflow
from workflow_client.models import Problem as WorkflowProblem
from workflow_client.models import (
    TaskDecision,
    TaskDecisionDecision,
    TaskPage,
    TaskRead,
    WorkflowRead,
    WorkflowStart,
    WorkflowStartInput,
    WorkflowWithSteps,
)

PROBLEMS = (IdentityProblem, ContentProblem, CommunicationProblem, WorkflowProblem)
PASSWORD = "a password of the walk"
TEXT = b"The committee proposes that the town close the race of the old corn mill."
MAX_WAIT_SECONDS = 60.0

Expected = TypeVar("Expected")


class Answer(Protocol):
    """Represents a response of any of the clients."""

    @property
    def status_code(self) -> HTTPStatus: ...
    @property
    def parsed(self) -> object: ...


@dataclass
class Person:
    """Holds a client of each service, with the token of one user."""

    user_id: uuid.UUID
    token: str

    def __post_init__(self) -> None:
        self.content = content_client.AuthenticatedClient(get_url("content"), self.token)
        self.workflow = workflow_client.AuthenticatedClient(get_url("workflow"), self.token)
        self.communication = communication_client.AuthenticatedClient(
            get_url("communication"), self.token
        )


def get_url(service: str) -> str:
    return os.environ[f"{service.upper()}_URL"]


def get_result(answer: Answer, kind: type[Expected]) -> Expected:
    """Return the parsed result, which must be of this class."""
    assert isinstance(answer.parsed, kind), f"{answer.status_code} {answer.parsed}"
    return answer.parsed


def expect_problem(answer: Answer, status: int, code: str, about: str) -> None:
    """Require an error that the client has parsed, with `about` in its detail."""
    problem = answer.parsed
    assert isinstance(problem, PROBLEMS), f"{answer.status_code} {problem}"
    assert (answer.status_code, problem.status, problem.code) == (status, status, code), problem
    assert about in problem.detail, problem


def wait_for(find: Callable[[], Expected | None]) -> Expected:
    deadline = time.monotonic() + MAX_WAIT_SECONDS
    while (found := find()) is None:
        assert time.monotonic() < deadline, f"nothing after {MAX_WAIT_SECONDS} seconds"
        time.sleep(0.2)
    return found


def sign_up(name: str) -> Person:
    """Register a user and log in."""
    client = identity_client.Client(get_url("identity"))
    email = f"{uuid.uuid4().hex}@example.com"
    new = Registration(email=email, password=PASSWORD, name=name)
    get_result(register.sync_detailed(client=client, body=new), UserRead)
    wrong = LoginCredentials(email=email, password="not the password")
    refused = log_in.sync_detailed(client=client, body=wrong)
    expect_problem(refused, 401, "WrongCredentials", "password")
    credentials = LoginCredentials(email=email, password=PASSWORD)
    tokens = get_result(log_in.sync_detailed(client=client, body=credentials), TokenPair)
    return Person(tokens.user_id, tokens.access_token)


def upload(author: Person) -> uuid.UUID:
    file = File(BytesIO(TEXT), "proposal.txt", "text/plain")
    new = DocumentUpload(file=file, title="Closing the mill race")
    uploaded = upload_document.sync_detailed(client=author.content, body=new)
    return get_result(uploaded, DocumentUploaded).id


def meet_errors(author: Person, document_id: uuid.UUID) -> None:
    """Make the mistakes that clients make, and read what the services say about them."""
    stranger = identity_client.AuthenticatedClient(get_url("identity"), "no-token")
    refused: Answer = read_current_user.sync_detailed(client=stranger)
    expect_problem(refused, 401, "InvalidToken", "token")
    nameless = DocumentCreate(title="", body="Hello")
    refused = create_document.sync_detailed(client=author.content, body=nameless)
    expect_problem(refused, 422, "Unprocessable", "title")
    refused = read_document.sync_detailed(uuid.uuid4(), client=author.content)
    expect_problem(refused, 404, "UnknownDocument", "no such document")
    stale = change_document.sync_detailed(
        document_id, client=author.content, body=DocumentUpdate(title="Later"), if_match='"99"'
    )
    expect_problem(stale, 412, "StaleVersion", "has changed")
    found = read_document.sync_detailed(document_id, client=author.content)
    assert get_result(found, DocumentWithBody).title == "Closing the mill race"


def review(author: Person, reviewer: Person, document_id: uuid.UUID) -> None:
    """Ask for a review and approve it; a second decision is refused."""
    given = {"document_id": str(document_id), "reviewer_id": str(reviewer.user_id)}
    new = WorkflowStart("document-review", input_=WorkflowStartInput.from_dict(given))
    started = start_workflow.sync_detailed(client=author.workflow, body=new)
    run = get_result(started, WorkflowRead)

    def find_task() -> TaskRead | None:
        answer = list_tasks.sync_detailed(client=reviewer.workflow, workflow_id=run.id)
        return next(iter(get_result(answer, TaskPage).items), None)

    task = wait_for(find_task)
    decision = TaskDecision(TaskDecisionDecision.APPROVE, comment="Clear and fair")
    answer = complete_task.sync_detailed(task.id, client=reviewer.workflow, body=decision)
    assert get_result(answer, TaskRead).status == "completed"
    answer = complete_task.sync_detailed(task.id, client=reviewer.workflow, body=decision)
    expect_problem(answer, 409, "TaskClosed", "")

    def find_end() -> bool | None:
        answer = read_workflow.sync_detailed(run.id, client=author.workflow)
        return get_result(answer, WorkflowWithSteps).status == "completed" or None

    wait_for(find_end)


def read_notification(author: Person) -> str:
    """Wait for the notification about the decision, and return its subject."""

    def find() -> str | None:
        answer = list_inbox_items.sync_detailed(client=author.communication, unread=True)
        subjects = [item.subject for item in get_result(answer, InboxItemPage).items]
        return next((subject for subject in subjects if "approved" in subject), None)

    return wait_for(find)


def main() -> None:
    author = sign_up("Nora")
    reviewer = sign_up("Rupert")
    document_id = upload(author)
    meet_errors(author, document_id)
    review(author, reviewer, document_id)
    print(read_notification(author))


if __name__ == "__main__":
    main()
