"""The budget of a run for models: what it has cost, and the approval to spend more."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..definition.expressions import ExpressionError, evaluate
from ..models import AiCall, Run
from ..steps.protocol import Assignee, RequestApproval
from .transaction import RunTransaction


def get_cost(session: Session, run: Run) -> float:
    """Return in US dollars what the models have cost the run so far."""
    cost = select(func.sum(AiCall.cost_usd)).where(AiCall.run_id == run.id)
    return session.scalar(cost) or 0.0


def check_budget(tx: RunTransaction) -> RequestApproval | None:
    """Return a request for approval when the run has spent its budget."""
    run = tx.run
    budget = tx.definition.budget
    if budget is None:
        return None
    allowed = run.budget_usd or budget.usd
    spent = get_cost(tx.session, run)
    if spent < allowed:
        return None
    return RequestApproval(
        assignees=[get_assignee(tx)],
        title=f"The models of {run.definition} have cost {spent:.4f} USD: may they cost more?",
        subject={"workflow_id": str(run.id), "spent_usd": spent, "budget_usd": allowed},
        purpose="budget",
    )


def get_assignee(tx: RunTransaction) -> Assignee:
    """Return the assignee that the definition names, else the starter of the run."""
    budget = tx.definition.budget
    if budget and budget.role:
        return Assignee(role=budget.role)
    if budget and budget.assignee_id:
        try:
            return Assignee(str(evaluate(budget.assignee_id, tx.context.build_scope("", None))))
        except ExpressionError:
            pass  # the starter, who can have the definition corrected, gets the task instead
    return Assignee(tx.run.started_by)


def raise_budget(tx: RunTransaction, by: str) -> None:
    """Allow the run to spend as much again."""
    budget = tx.definition.budget
    if budget:
        tx.run.budget_usd = (tx.run.budget_usd or budget.usd) + budget.usd
        tx.record("run.budget_raised", None, by, budget_usd=tx.run.budget_usd)
