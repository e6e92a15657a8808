"""Workflows: runs of a definition, which the caller starts, follows and controls."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Header, Query
from fastapi.responses import PlainTextResponse, Response

from chassis.event_stream import EventStreamResponse
from chassis.openapi import raises
from chassis.pagination import Page, PageRequest
from chassis.routing import APIRouter

from .. import graph, stats, workflows
from ..database import DbSession
from ..definitions import UnknownDefinition
from ..engine import controls
from ..engine.controls import InvalidRunStatus
from ..engine.reruns import BusinessKeyTaken
from ..models import Run
from ..schemas import (
    HistoryEventRead,
    Role,
    SlaRead,
    StepDetail,
    WorkflowRead,
    WorkflowRerun,
    WorkflowRetry,
    WorkflowStart,
    WorkflowStats,
    WorkflowWithSteps,
)
from ..streams import HistoryEnded, HistoryEventAdded
from ..workflows import InvalidInput, NotRunOwner, UnknownWorkflow
from .dependencies import NOTIFY_WORKERS, STARTS_RUN, RunReader, RunStarter, WorkflowStream

Days = Annotated[int, Query(ge=1, le=366, description="How far to look back.")]
OfRole = Annotated[Role, Query(description="What the steps are for.")]
GraphFormat = Annotated[Literal["mermaid", "svg"], Query(description="The format of the drawing.")]
LastEventId = Annotated[
    int, Header(ge=0, le=2**63 - 1, description="The id of the last event seen; 0 is the start.")
]

router = APIRouter(prefix="/workflows", tags=["Workflows"])

CONTROL_ERRORS = (UnknownWorkflow, NotRunOwner, InvalidRunStatus)
RESTART_ERRORS = (*CONTROL_ERRORS, UnknownDefinition, InvalidInput, BusinessKeyTaken)


@router.post(
    "",
    response_model=WorkflowRead,
    status_code=201,
    dependencies=STARTS_RUN,
    responses={200: {"model": WorkflowRead, "description": "The run with this business key."}},
)
@raises(UnknownDefinition, InvalidInput, BusinessKeyTaken)
def start_workflow(
    new: WorkflowStart, starter: RunStarter, session: DbSession, response: Response
) -> Run:
    """Start a run of the current version of a definition. It acts with your rights.

    If you have started one with the same business key, that run is the answer, with 200.
    """
    run, is_new = workflows.start_workflow(session, starter, new)
    response.status_code = 201 if is_new else 200
    return run


@router.get("", response_model=Page[WorkflowRead])
def list_workflows(reader: RunReader, session: DbSession, page: PageRequest) -> dict[str, Any]:
    """List the runs that you started, newest first; all runs for an administrator."""
    return workflows.list_workflows(session, reader, page)


@router.get("/stats")
def read_workflow_stats(reader: RunReader, session: DbSession, days: Days = 30) -> WorkflowStats:
    """Count the runs of the last days that you started; all runs for an administrator."""
    return stats.compute_stats(session, reader, days)


@router.get("/sla-check", summary="List SLA states")
def list_sla_states(reader: RunReader, session: DbSession, page: PageRequest) -> Page[SlaRead]:
    """List your runs with an SLA, or with a late step, as in time, at risk or breached."""
    return stats.check_sla(session, reader, page)


@router.get("/{workflow_id}")
@raises(UnknownWorkflow)
def read_workflow(workflow_id: UUID, reader: RunReader, session: DbSession) -> WorkflowWithSteps:
    """Read a run and its steps."""
    return workflows.get_workflow_with_steps(session, reader, workflow_id)


@router.get("/{workflow_id}/steps", response_model=Page[StepDetail])
@raises(UnknownWorkflow)
def list_workflow_steps(
    workflow_id: UUID,
    reader: RunReader,
    session: DbSession,
    page: PageRequest,
    role: OfRole = "work",
) -> dict[str, Any]:
    """List a run's steps with input and output, oldest first: those that the definition names,
    those that undid them (`compensation`), or those that notified people (`notice`)."""
    return workflows.list_steps(session, reader, workflow_id, role, page)


@router.get("/{workflow_id}/history", response_model=Page[HistoryEventRead])
@raises(UnknownWorkflow)
def read_workflow_history(
    workflow_id: UUID, reader: RunReader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """List everything that has happened in a run, oldest first."""
    return workflows.list_history(session, reader, workflow_id, page)


@router.get(
    "/{workflow_id}/stream",
    response_class=EventStreamResponse,
    responses={200: {"model": HistoryEventAdded | HistoryEnded}},
)
async def stream_workflow(
    workflow_id: UUID, stream: WorkflowStream, last_event_id: LastEventId = 0
) -> EventStreamResponse:
    """Stream the history of a run until the run ends (server-sent events).

    With `Last-Event-ID`, as browsers send it when they reconnect, only later events come.
    """
    return stream.respond(last_event_id)


@router.get(
    "/{workflow_id}/graph",
    response_class=PlainTextResponse,
    responses={200: {"content": {"image/svg+xml": {"schema": {"type": "string"}}}}},
)
@raises(UnknownWorkflow)
def draw_workflow(
    workflow_id: UUID, reader: RunReader, session: DbSession, format: GraphFormat = "mermaid"
) -> Response:
    """Draw the steps of a run and their statuses, as a Mermaid flowchart or as SVG."""
    definition, status_counts = workflows.get_progress(session, reader, workflow_id)
    if format == "svg":
        return Response(graph.render_svg(definition, status_counts), media_type="image/svg+xml")
    return PlainTextResponse(graph.render_mermaid(definition, status_counts))


@router.post("/{workflow_id}/pause", response_model=WorkflowRead)
@raises(*CONTROL_ERRORS)
def pause_workflow(workflow_id: UUID, starter: RunStarter, session: DbSession) -> Run:
    """Pause a run: steps that have started finish, and no further step starts."""
    return workflows.control_workflow(session, starter, workflow_id, controls.pause_run)


@router.post("/{workflow_id}/resume", response_model=WorkflowRead, dependencies=NOTIFY_WORKERS)
@raises(*CONTROL_ERRORS)
def resume_workflow(workflow_id: UUID, starter: RunStarter, session: DbSession) -> Run:
    """Continue a paused run."""
    return workflows.control_workflow(session, starter, workflow_id, controls.resume_run)


@router.post("/{workflow_id}/cancel", response_model=WorkflowRead, dependencies=NOTIFY_WORKERS)
@raises(*CONTROL_ERRORS)
def cancel_workflow(workflow_id: UUID, starter: RunStarter, session: DbSession) -> Run:
    """End a run, and undo its finished steps for which the definition says how."""
    return workflows.control_workflow(session, starter, workflow_id, controls.cancel_run)


@router.post(
    "/{workflow_id}/retry", response_model=WorkflowRead, status_code=201, dependencies=STARTS_RUN
)
@raises(*RESTART_ERRORS)
def retry_workflow(
    workflow_id: UUID, wanted: WorkflowRetry, starter: RunStarter, session: DbSession
) -> Run:
    """Start a new run that continues where this one failed or was cancelled."""
    return workflows.retry_workflow(session, starter, workflow_id, wanted)


@router.post(
    "/{workflow_id}/rerun", response_model=WorkflowRead, status_code=201, dependencies=STARTS_RUN
)
@raises(*RESTART_ERRORS)
def rerun_workflow(
    workflow_id: UUID, wanted: WorkflowRerun, starter: RunStarter, session: DbSession
) -> Run:
    """Start a new run that repeats this one, from a step or from the start."""
    return workflows.rerun_workflow(session, starter, workflow_id, wanted)
