"""Numbers about runs, worked out from the tables when they are asked for."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, extract, func, or_, select
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.clock import now
from chassis.pagination import PageParameters, paginate

from .engine.human_tasks import TASK_OPEN
from .engine.statuses import CANCELLED, COMPLETED, FAILED
from .models import AiCall, Run, Step, Task
from .workflows import ALL_WORKFLOWS_PERMISSION, is_owned_by, sum_usage

AT_RISK_RATIO = 0.8  # of the time there is


def compute_stats(session: Session, user: User, days: int) -> dict[str, Any]:
    since = now() - timedelta(days=days)
    which = (is_owned_by(user), Run.created_at >= since)
    by_status = select(Run.status, func.count()).where(*which).group_by(Run.status)
    tasks = select(func.count()).select_from(Task).join(Run, Task.workflow_id == Run.id)
    calls = AiCall.created_at >= since
    if not user.has_permission(ALL_WORKFLOWS_PERMISSION):
        calls &= AiCall.user_id == user.user_id
    return {
        "by_status": {status: count for status, count in session.execute(by_status)},
        "by_definition": count_by_definition(session, *which),
        "open_tasks": session.scalar(tasks.where(*which, Task.status == TASK_OPEN)),
        "usage": sum_usage(session, calls),
    }


def count_by_definition(session: Session, *which: Any) -> list[dict[str, Any]]:
    took = extract("epoch", Run.finished_at - Run.created_at)
    columns: dict[str, Any] = {
        "definition": Run.definition,
        "runs": func.count(),
        **{status: func.count().filter(Run.status == status) for status in FINAL_STATUSES},
        "breached": func.count().filter(Run.breached_at.is_not(None)),
        **{
            name: func.percentile_cont(part).within_group(took).filter(Run.status == COMPLETED)
            for name, part in (("median_seconds", 0.5), ("p95_seconds", 0.95))
        },
    }
    labelled = [column.label(name) for name, column in columns.items()]
    rows = select(*labelled).where(*which).group_by(Run.definition).order_by(Run.definition)
    return [dict(row) for row in session.execute(rows.limit(MAX_DEFINITIONS)).mappings()]


FINAL_STATUSES = (COMPLETED, FAILED, CANCELLED)
MAX_DEFINITIONS = 1000


def check_sla(session: Session, user: User, page: PageParameters) -> dict[str, Any]:
    late_step = select(Step).where(Step.due_at <= func.now(), Step.finished_at.is_(None))
    has_one = and_(Run.finished_at.is_(None), late_step.where(Step.run_id == Run.id).exists())
    some = select(Run).where(is_owned_by(user), or_(Run.due_at.is_not(None), has_one))
    found = paginate(session, some, page, Run.id)
    late: dict[Any, list[str]] = {}
    of_these = Step.run_id.in_([run.id for run in found["items"]])
    for step in session.scalars(late_step.where(of_these)):
        late.setdefault(step.run_id, []).append(step.path)
    items = [
        {**vars(run), "state": classify_sla(run, now()), "late_steps": late.get(run.id, [])}
        for run in found["items"]
    ]
    return {**found, "items": items}


def classify_sla(run: Run, at: datetime) -> str:
    if run.due_at is None:  # a step of it is late
        return "breached"
    until = run.finished_at or at
    if until > run.due_at:
        return "breached"
    is_near = until > run.created_at + AT_RISK_RATIO * (run.due_at - run.created_at)
    return "at_risk" if is_near and not run.finished_at else "in_time"
