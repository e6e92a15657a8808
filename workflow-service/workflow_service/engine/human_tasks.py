"""Tasks: a step that waits for people has one open for each assignee."""

from collections.abc import Sequence
from hashlib import sha256
from json import dumps
from typing import Any

from sqlalchemy import select
from uuid_utils.compat import uuid7

from chassis.clock import now

from ..models import Step, Task
from ..steps.protocol import Assignee, RequestApproval
from .statuses import TASK_CLOSED, TASK_OPEN
from .transaction import RunTransaction

SHOWN_IN_HISTORY = ("purpose", "title", "subject", "seen", "assignee_id", "role", "needed")


def open_tasks(tx: RunTransaction, step: Step, request: RequestApproval) -> None:
    """Open a task for each assignee and notify them; older tasks of the step are closed."""
    close_tasks(tx, [step], "Others are asked instead")
    tx.suspend_step(step, request.memory, until=request.at)
    step.last_error = None
    for assignee in request.assignees:
        task = build_task(tx, step, request, assignee)
        tx.session.add(task)
        about = {name: getattr(task, name) for name in SHOWN_IN_HISTORY}
        tx.record("task.opened", step, None, task_id=str(task.id), **about)
        tx.add_notice(step, address_message(task, **build_invitation(request, task)))


def build_task(tx: RunTransaction, step: Step, request: RequestApproval, to: Assignee) -> Task:
    return Task(
        id=uuid7(), step_id=step.id, workflow_id=tx.run.id, step=step.path, status=TASK_OPEN,
        purpose=request.purpose, title=request.title, subject=request.subject, seen=request.seen,
        subject_hash=hash_subject(request), assignee_id=to.user_id, role=to.role,
        not_by=request.not_by, needed=request.needed,
    )  # fmt: skip


def hash_subject(request: RequestApproval) -> str:
    """Return a fingerprint of everything that a decision is about."""
    about = {"title": request.title, "subject": request.subject, "seen": request.seen}
    return sha256(dumps(about, sort_keys=True).encode()).hexdigest()


def build_invitation(request: RequestApproval, task: Task) -> dict[str, Any]:
    if request.message:
        variables = {**request.message["variables"], "task_id": str(task.id)}
        return {**request.message, "variables": variables}
    body = f"Please decide: {request.title}\n\nThe task is {task.id}."
    return {"subject": f"To decide: {request.title}"[:200], "body": body}


def address_message(task: Task, **message: Any) -> dict[str, Any]:
    to = {"recipient_id": task.assignee_id} if task.assignee_id else {"role": task.role}
    return {**to, **message}


def close_tasks(
    tx: RunTransaction, steps: Sequence[Step], reason: str, *, notify: bool = True
) -> None:
    """Close the open tasks of the steps without a decision, and notify the assignees."""
    by_id = {step.id: step for step in steps}
    unanswered = select(Task).where(Task.step_id.in_(by_id), Task.status == TASK_OPEN)
    for task in tx.session.scalars(unanswered.order_by(Task.id)) if by_id else ():
        if task.status != TASK_OPEN:
            continue  # decided in this transaction
        task.status = TASK_CLOSED
        task.reason = reason
        task.decided_at = now()
        step = by_id[task.step_id]
        tx.record("task.closed", step, None, task_id=str(task.id), reason=reason)
        if notify:
            body = f"You need not decide any more: {task.title}\n\n{reason}"
            subject = f"No longer to decide: {task.title}"[:200]
            tx.add_notice(step, address_message(task, subject=subject, body=body))
