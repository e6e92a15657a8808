"""What the models of a run have cost, and the question whether they may cost more."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..definition.expressions import ExpressionError, evaluate
from ..models import AiCall, Run
from ..steps.protocol import Ask, Assignee
from .transaction import Move


def cost(session: Session, run: Run) -> float:
    """In USD."""
    return session.scalar(select(func.sum(AiCall.cost_usd)).where(AiCall.run_id == run.id)) or 0.0


def question(move: Move) -> Ask | None:
    """Whether the run may go on spending; nothing while it is within its budget."""
    budget, run = move.definition.budget, move.run
    if budget is None:
        return None
    allowed, spent = run.budget_usd or budget.usd, cost(move.session, run)
    if spent < allowed:
        return None
    return Ask(
        assignees=[assignee(move)],
        title=f"The models of {run.definition} have cost {spent:.4f} USD: may they cost more?",
        subject={"workflow_id": str(run.id), "spent_usd": spent, "budget_usd": allowed},
        purpose="budget",
    )


def assignee(move: Move) -> Assignee:
    """As the definition says, else whoever started the run."""
    budget = move.definition.budget
    if budget and budget.role:
        return Assignee(role=budget.role)
    if budget and budget.assignee_id:
        try:
            return Assignee(str(evaluate(budget.assignee_id, move.sight.scope("", None))))
        except ExpressionError:
            pass  # then the starter, who can ask for it to be corrected
    return Assignee(move.run.started_by)


def raise_budget(move: Move, by: str) -> None:
    """By as much again."""
    budget = move.definition.budget
    if budget:
        move.run.budget_usd = (move.run.budget_usd or budget.usd) + budget.usd
        move.record("run.budget_raised", None, by, budget_usd=move.run.budget_usd)
