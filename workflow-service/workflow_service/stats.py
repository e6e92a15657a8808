"""Numbers about runs, computed from the tables at each request: statistics and SLA reports."""

from collections import defaultdict
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, extract, func, or_, select
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.clock import now
from chassis.pagination import Page, PageParameters, paginate

from .engine.statuses import CANCELLED, COMPLETED, FAILED, TASK_OPEN
from .models import AiCall, Run, Step, Task
from .schemas import DefinitionStats, SlaRead, SlaState, WorkflowStats
from .workflows import ALL_WORKFLOWS_PERMISSION, is_owned_by, sum_usage

AT_RISK_RATIO = 0.8  # a run is at risk when this share of its time has passed
MAX_DEFINITIONS = 1000


def compute_stats(session: Session, user: User, days: int) -> WorkflowStats:
    """Count the runs of the last days that the user started; all runs for an administrator."""
    since = now() - timedelta(days=days)
    runs = and_(is_owned_by(user), Run.created_at >= since)
    by_status = select(Run.status, func.count()).where(runs).group_by(Run.status)
    tasks = select(func.count()).join_from(Task, Run, Task.workflow_id == Run.id)
    open_tasks = tasks.where(runs, Task.status == TASK_OPEN)
    calls = AiCall.created_at >= since
    if not user.has_permission(ALL_WORKFLOWS_PERMISSION):
        calls &= AiCall.user_id == user.user_id
    return WorkflowStats(
        by_status={status: count for status, count in session.execute(by_status)},
        by_definition=count_by_definition(session, runs),
        open_tasks=session.scalar(open_tasks) or 0,
        usage=sum_usage(session, calls),
    )


def count_by_definition(session: Session, runs: ColumnElement[bool]) -> list[DefinitionStats]:
    seconds = extract("epoch", Run.finished_at - Run.created_at)
    completed = Run.status == COMPLETED
    columns = (
        Run.definition,
        func.count().label("runs"),
        func.count().filter(completed).label("completed"),
        func.count().filter(Run.status == FAILED).label("failed"),
        func.count().filter(Run.status == CANCELLED).label("cancelled"),
        func.count().filter(Run.breached_at.is_not(None)).label("breached"),
        func.percentile_cont(0.5).within_group(seconds).filter(completed).label("median_seconds"),
        func.percentile_cont(0.95).within_group(seconds).filter(completed).label("p95_seconds"),
    )
    rows = select(*columns).where(runs).group_by(Run.definition).order_by(Run.definition)
    found = session.execute(rows.limit(MAX_DEFINITIONS)).mappings()
    return [DefinitionStats(**row) for row in found]


def check_sla(session: Session, user: User, page: PageParameters) -> Page[SlaRead]:
    """List the runs that have an SLA, or a step that has exceeded its own."""
    late = select(Step).where(Step.due_at <= func.now(), Step.finished_at.is_(None))
    has_late_step = and_(Run.finished_at.is_(None), late.where(Step.run_id == Run.id).exists())
    runs = select(Run).where(is_owned_by(user), or_(Run.due_at.is_not(None), has_late_step))
    found = paginate(session, runs, page, Run.id)
    run_ids = [run.id for run in found["items"]]
    late_paths: dict[UUID, list[str]] = defaultdict(list)
    for step in session.scalars(late.where(Step.run_id.in_(run_ids))):
        late_paths[step.run_id].append(step.path)
    items = []
    for run in found["items"]:
        sla = {"state": classify_sla(run, now()), "late_steps": late_paths[run.id]}
        items.append(SlaRead.model_validate({**vars(run), **sla}))
    return Page(items=items, next_cursor=found["next_cursor"])


def classify_sla(run: Run, at: datetime) -> SlaState:
    """Compare the run's duration with its SLA; a run without one is listed for a late step."""
    until = run.finished_at or at
    if run.due_at is None or until > run.due_at:
        return "breached"
    risk_begins_at = run.created_at + AT_RISK_RATIO * (run.due_at - run.created_at)
    return "at_risk" if until > risk_begins_at and not run.finished_at else "in_time"
