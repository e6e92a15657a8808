"""What users can do with the tasks that runs open for them."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, or_, select, update
from sqlalchemy.orm import Session, sessionmaker

from chassis.auth import User
from chassis.clock import now
from chassis.errors import Conflict, Forbidden, NotFound
from chassis.pagination import PageParameters, paginate

from .contracts import READ_VERSION
from .engine import budget, human_tasks, transaction, transitions
from .engine.events import StepFailed, StepFinished
from .engine.statuses import PENDING, TASK_COMPLETED, TASK_OPEN, WAITING
from .engine.transaction import RunTransaction
from .models import Run, Step, Task
from .neighbours import Neighbours
from .schemas import TaskDecision

APPROVE, REJECT = "approve", "reject"
DOCUMENT_CHECK_SECONDS = 2.0  # the request occupies a thread meanwhile


class UnknownTask(NotFound):
    """Raised when there is no such task, or the user may not see it."""


class TaskClosed(Conflict):
    """Raised when the task was decided before, or is not needed any more."""


class Outdated(Conflict):
    """Raised when what is to be decided on has changed since it was read."""


class NotAssigned(Forbidden):
    """Raised when the task has another assignee, or the user started the run."""


def is_assigned_to(user: User) -> ColumnElement[bool]:
    """Match the tasks that the user, or every user with one of their roles, may decide."""
    return or_(Task.assignee_id == user.user_id, Task.role.in_(user.roles))


def list_tasks(
    session: Session, user: User, page: PageParameters, **filters: UUID | str | None
) -> dict[str, Any]:
    """List the user's tasks whose columns have these values; None stands for any value."""
    wanted = {column: value for column, value in filters.items() if value is not None}
    tasks = select(Task).where(is_assigned_to(user)).filter_by(**wanted)
    columns = (Task.status, Task.created_at, Task.id)  # open, completed, closed
    return paginate(session, tasks, page, *columns)


def get_task(session: Session, user: User, task_id: UUID) -> Task:
    """Return a task of the user, or of a run that the user started. Raises UnknownTask."""
    visible = or_(is_assigned_to(user), Run.started_by == user.user_id)
    found = select(Task).join(Run, Task.workflow_id == Run.id).where(Task.id == task_id, visible)
    task = session.scalar(found)
    if task is None:
        raise UnknownTask("You have no such task")
    return task


def complete_task(session: Session, user: User, task_id: UUID, decided: TaskDecision) -> Task:
    """Store a decision, which is final. When enough have decided, the run goes on."""
    task = get_task(session, user, task_id)
    check_assignee(user, task)
    with transaction.lock_run(session, task.workflow_id) as tx:
        session.refresh(task)  # it may have changed before the run was locked
        votes = session.scalars(select_round(task)).all()
        check_open(user, task, decided, votes)
        task.status = TASK_COMPLETED
        task.decided_at = now()
        task.decided_by = user.user_id
        task.decision = decided.decision
        task.comment = decided.comment
        step = session.get_one(Step, task.step_id)
        about = {"task_id": str(task.id), **decided.model_dump(exclude={"subject_hash"})}
        tx.record("task.completed", step, user.user_id, **about)
        if task.purpose == "budget":
            apply_budget_decision(tx, step, task)
        else:
            count_votes(tx, step, task, votes)
    return task


def select_round(task: Task) -> Select[Task]:
    """Select the tasks opened together with this one: what came before an escalation is over."""
    return select(Task).filter_by(step_id=task.step_id, created_at=task.created_at)


def check_assignee(user: User, task: Task) -> None:
    if task.assignee_id != user.user_id and task.role not in user.roles:
        raise NotAssigned("Someone else has to decide this")
    if task.not_by == user.user_id:
        raise NotAssigned("You started this run, so someone else has to decide")


def check_open(user: User, task: Task, decided: TaskDecision, votes: Sequence[Task]) -> None:
    if task.status != TASK_OPEN:
        raise TaskClosed(f"This task is {task.status}: {task.reason or task.decision}")
    if decided.subject_hash not in (None, task.subject_hash):
        raise Outdated("What is to be decided has changed since you read it: read the task again")
    if any(vote.decided_by == user.user_id for vote in votes):
        raise TaskClosed("You have decided on this already")


def count_votes(tx: RunTransaction, step: Step, task: Task, votes: Sequence[Task]) -> None:
    """Approve the step when enough approved; reject it when that is no longer possible."""
    decided = [vote for vote in votes if vote.decision]
    approvals = sum(vote.decision == APPROVE for vote in decided)
    still_open = sum(vote.status == TASK_OPEN for vote in votes)
    if approvals < task.needed <= approvals + still_open:
        return
    output = {
        "decision": APPROVE if approvals >= task.needed else REJECT,
        "comment": task.comment,
        "decided_by": task.decided_by,
        "votes": [
            {"decision": v.decision, "comment": v.comment, "decided_by": v.decided_by}
            for v in sorted(decided, key=lambda vote: str(vote.decided_at))
        ],
    }
    human_tasks.close_tasks(tx, [step], "Others have decided", notify=False)
    transitions.process(tx, StepFinished(step, output, by=task.decided_by))


def apply_budget_decision(tx: RunTransaction, step: Step, task: Task) -> None:
    if task.decision == REJECT:
        transitions.process(tx, StepFailed(step, "the run was not allowed to cost more"))
        return
    budget.raise_budget(tx, str(task.decided_by))
    step.attempts = 0
    tx.reschedule_step(step, "step.rescheduled", now(), PENDING)


def check_document_unchanged(
    sessions: sessionmaker[Session], neighbours: Neighbours, user: User, task_id: UUID
) -> None:
    """Raise Outdated and make the step due when the document has changed. Keeps no transaction."""
    with sessions() as session:
        task = get_task(session, user, task_id)
        seen = task.seen
        step_id = task.step_id
        starter_id = session.get_one(Run, task.workflow_id).started_by
    if task.status != TASK_OPEN or "document_id" not in seen:
        return
    content = neighbours.content
    path = {"document_id": seen["document_id"]}
    version = None
    with suppress(Forbidden, NotFound):  # then it is gone for the starter of the run
        options = {"on_behalf_of": starter_id, "timeout": DOCUMENT_CHECK_SECONDS}
        version = READ_VERSION.make_from_thread(content, path=path, **options)["version"]
    if version == seen["version"]:
        return
    with sessions.begin() as session:
        waiting = update(Step).where(Step.id == step_id, Step.status == WAITING)
        session.execute(waiting.values(status=PENDING, run_at=func.now()))
    now_at = f"at version {version} now" if version else "gone"
    raise Outdated(f"The document is {now_at}: this approval is void")
