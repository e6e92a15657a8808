"""Tasks: a step that waits for people has one open for each of them."""

from collections.abc import Sequence
from hashlib import sha256
from json import dumps
from typing import Any

from sqlalchemy import select
from uuid_utils.compat import uuid7

from ..models import Step, Task
from ..steps.protocol import Ask, Assignee
from . import transitions
from .statuses import FOREVER, WAITING, now
from .transaction import Move

TASK_OPEN, TASK_COMPLETED, TASK_CLOSED = "open", "completed", "closed"


def open_tasks(move: Move, step: Step, asked: Ask) -> None:
    """Asks, and tells those who are asked. What the step had open before is closed."""
    close_tasks(move, [step], "Others are asked instead")
    step.status, step.run_at, step.lease_until = WAITING, asked.at or FOREVER, None
    step.memory, step.last_error = asked.memory, None
    for assignee in asked.assignees:
        task = new_task(move, step, asked, assignee)
        move.session.add(task)
        shown = ("purpose", "title", "subject", "seen", "assignee_id", "role", "needed")
        about = {name: getattr(task, name) for name in shown}
        move.record("task.opened", step, None, task_id=str(task.id), **about)
        transitions.tell(move, step, addressed(task, **invitation(asked, task)))


def new_task(move: Move, step: Step, asked: Ask, assignee: Assignee) -> Task:
    return Task(
        id=uuid7(), step_id=step.id, workflow_id=move.run.id, step=step.path, status=TASK_OPEN,
        purpose=asked.purpose, title=asked.title, subject=asked.subject, seen=asked.seen,
        subject_hash=hash_of(asked), assignee_id=assignee.user_id, role=assignee.role,
        not_by=asked.not_by, needed=asked.needed,
    )  # fmt: skip


def hash_of(asked: Ask) -> str:
    """Of all that a decision is about: another subject has another one."""
    about = {"title": asked.title, "subject": asked.subject, "seen": asked.seen}
    return sha256(dumps(about, sort_keys=True).encode()).hexdigest()


def invitation(asked: Ask, task: Task) -> dict[str, Any]:
    if asked.tell:
        return {**asked.tell, "variables": {**asked.tell["variables"], "task_id": str(task.id)}}
    body = f"You are asked to decide: {asked.title}\n\nThe task is {task.id}."
    return {"subject": f"To decide: {asked.title}"[:200], "body": body}


def addressed(task: Task, **message: Any) -> dict[str, Any]:
    to = {"recipient_id": task.assignee_id} if task.assignee_id else {"role": task.role}
    return {**to, **message}


def close_tasks(move: Move, steps: Sequence[Step], reason: str, *, told: bool = True) -> None:
    """Without a decision, and says so to those who were asked."""
    by_id = {step.id: step for step in steps}
    unanswered = select(Task).where(Task.step_id.in_(by_id), Task.status == TASK_OPEN)
    for task in move.session.scalars(unanswered.order_by(Task.id)) if by_id else ():
        if task.status != TASK_OPEN:
            continue  # decided in this transaction
        task.status, task.reason, task.decided_at = TASK_CLOSED, reason, now()
        step = by_id[task.step_id]
        move.record("task.closed", step, None, task_id=str(task.id), reason=reason)
        if told:
            body = f"You need not decide any more: {task.title}\n\n{reason}"
            subject = f"No longer to decide: {task.title}"[:200]
            transitions.tell(move, step, addressed(task, subject=subject, body=body))
