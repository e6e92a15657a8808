"""Tasks: a step that waits for people has one open for each of them."""

from collections.abc import Sequence
from hashlib import sha256
from json import dumps
from typing import Any

from sqlalchemy import select
from uuid_utils.compat import uuid7

from ..models import Step, Task
from ..steps.protocol import Assignee, RequestApproval
from . import transitions
from .statuses import NEVER, WAITING, now
from .transaction import RunTransaction

TASK_OPEN, TASK_COMPLETED, TASK_CLOSED = "open", "completed", "closed"


def open_tasks(tx: RunTransaction, step: Step, asked: RequestApproval) -> None:
    """Asks, and tells those who are asked. What the step had open before is closed."""
    close_tasks(tx, [step], "Others are asked instead")
    step.status, step.run_at, step.lease_until = WAITING, asked.at or NEVER, None
    step.memory, step.last_error = asked.memory, None
    for assignee in asked.assignees:
        task = build_task(tx, step, asked, assignee)
        tx.session.add(task)
        shown = ("purpose", "title", "subject", "seen", "assignee_id", "role", "needed")
        about = {name: getattr(task, name) for name in shown}
        tx.record("task.opened", step, None, task_id=str(task.id), **about)
        transitions.add_notice(tx, step, address_message(task, **build_invitation(asked, task)))


def build_task(tx: RunTransaction, step: Step, asked: RequestApproval, assignee: Assignee) -> Task:
    return Task(
        id=uuid7(), step_id=step.id, workflow_id=tx.run.id, step=step.path, status=TASK_OPEN,
        purpose=asked.purpose, title=asked.title, subject=asked.subject, seen=asked.seen,
        subject_hash=hash_subject(asked), assignee_id=assignee.user_id, role=assignee.role,
        not_by=asked.not_by, needed=asked.needed,
    )  # fmt: skip


def hash_subject(asked: RequestApproval) -> str:
    """Of all that a decision is about: another subject has another one."""
    about = {"title": asked.title, "subject": asked.subject, "seen": asked.seen}
    return sha256(dumps(about, sort_keys=True).encode()).hexdigest()


def build_invitation(asked: RequestApproval, task: Task) -> dict[str, Any]:
    if asked.message:
        return {
            **asked.message,
            "variables": {**asked.message["variables"], "task_id": str(task.id)},
        }
    body = f"You are asked to decide: {asked.title}\n\nThe task is {task.id}."
    return {"subject": f"To decide: {asked.title}"[:200], "body": body}


def address_message(task: Task, **message: Any) -> dict[str, Any]:
    to = {"recipient_id": task.assignee_id} if task.assignee_id else {"role": task.role}
    return {**to, **message}


def close_tasks(
    tx: RunTransaction, steps: Sequence[Step], reason: str, *, notify: bool = True
) -> None:
    """Without a decision, and says so to those who were asked."""
    by_id = {step.id: step for step in steps}
    unanswered = select(Task).where(Task.step_id.in_(by_id), Task.status == TASK_OPEN)
    for task in tx.session.scalars(unanswered.order_by(Task.id)) if by_id else ():
        if task.status != TASK_OPEN:
            continue  # decided in this transaction
        task.status, task.reason, task.decided_at = TASK_CLOSED, reason, now()
        step = by_id[task.step_id]
        tx.record("task.closed", step, None, task_id=str(task.id), reason=reason)
        if notify:
            body = f"You need not decide any more: {task.title}\n\n{reason}"
            subject = f"No longer to decide: {task.title}"[:200]
            transitions.add_notice(tx, step, address_message(task, subject=subject, body=body))
