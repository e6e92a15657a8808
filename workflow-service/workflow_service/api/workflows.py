"""Runs: /workflows."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from sse_starlette import EventSourceResponse

from chassis.auth import get_bearer_token
from chassis.event_stream import EventStream, EventStreams
from chassis.idempotency import IdempotentRoute
from chassis.pagination import Page, PageRequest

from .. import graph, stats, workflows
from ..database import DbSession, session_maker
from ..engine import controls
from ..models import Run
from ..schemas.workflows import (
    EventRead,
    SlaRead,
    StepDetail,
    WorkflowRead,
    WorkflowRerun,
    WorkflowRetry,
    WorkflowStart,
    WorkflowStats,
    WorkflowWithSteps,
)
from .dependencies import IDEMPOTENT, NOTIFY_WORKERS, WorkflowReader, WorkflowStarter

router = APIRouter(prefix="/workflows", route_class=IdempotentRoute)

LastEventId = Annotated[int, Header(ge=0, le=2**63 - 1)]


def require_visible_workflow(workflow_id: UUID, reader: WorkflowReader) -> UUID:
    """Asked in a session of its own, which does not stay open while the stream does."""
    with session_maker() as session:
        return workflows.get_workflow(session, reader, workflow_id).id


Visible = Annotated[UUID, Depends(require_visible_workflow)]


async def open_stream(
    request: Request, reader: WorkflowReader, run_id: Visible
) -> AsyncIterator[EventStream[UUID]]:
    streams: EventStreams[UUID] = request.app.state.streams
    check_token = partial(request.app.state.authenticate, get_bearer_token(request))
    with streams.open(run_id, reader, check_token) as stream:
        yield stream


OpenStream = Annotated[EventStream[UUID], Depends(open_stream)]
Days = Annotated[int, Query(ge=1, le=366)]


@router.post(
    "", response_model=WorkflowRead, status_code=201, dependencies=[*IDEMPOTENT, *NOTIFY_WORKERS]
)
def start_workflow(
    new: WorkflowStart, starter: WorkflowStarter, session: DbSession, response: Response
) -> Run:
    """Start a run of a definition, with your rights; 200 when its business key has one already."""
    run, is_new = workflows.start_workflow(session, starter, new)
    response.status_code = 201 if is_new else 200
    return run


@router.get("", response_model=Page[WorkflowRead])
def list_workflows(reader: WorkflowReader, session: DbSession, page: PageRequest) -> dict[str, Any]:
    """The runs you started; an administrator sees everybody's."""
    return workflows.list_workflows(session, reader, page)


@router.get("/stats", response_model=WorkflowStats)
def read_stats(reader: WorkflowReader, session: DbSession, days: Days = 30) -> dict[str, Any]:
    """Numbers about the runs you started, or all for an administrator, of the last days."""
    return stats.compute_stats(session, reader, days)


@router.get("/sla-check", response_model=Page[SlaRead])
def check_sla(reader: WorkflowReader, session: DbSession, page: PageRequest) -> dict[str, Any]:
    """Your runs that have a time, or a late step: in time, at risk, breached; newest first."""
    return stats.check_sla(session, reader, page)


@router.get("/{workflow_id}", response_model=WorkflowWithSteps)
def read_workflow(workflow_id: UUID, reader: WorkflowReader, session: DbSession) -> dict[str, Any]:
    """A run and its steps."""
    return workflows.get_workflow_with_steps(session, reader, workflow_id)


@router.get("/{workflow_id}/steps", response_model=Page[StepDetail])
def list_steps(
    workflow_id: UUID, reader: WorkflowReader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """Its steps with what went in and came out, oldest first."""
    return workflows.list_steps(session, reader, workflow_id, page)


@router.get("/{workflow_id}/history", response_model=Page[EventRead])
def read_history(
    workflow_id: UUID, reader: WorkflowReader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """Everything that happened in a run, oldest first."""
    return workflows.list_history(session, reader, workflow_id, page)


@router.get("/{workflow_id}/stream", response_class=EventSourceResponse)
async def stream_workflow(
    workflow_id: UUID, stream: OpenStream, last_event_id: LastEventId = 0
) -> EventSourceResponse:
    """Its history as it happens, until it ends; resumes after `Last-Event-ID`."""
    return stream.respond(last_event_id)


@router.get("/{workflow_id}/graph")
def draw_workflow(
    workflow_id: UUID,
    reader: WorkflowReader,
    session: DbSession,
    format: Literal["mermaid", "svg"] = "mermaid",
) -> Response:
    """Its steps and their states, as a Mermaid flowchart or a picture."""
    definition, states = workflows.count_step_states(session, reader, workflow_id)
    if format == "svg":
        return Response(graph.render_svg(definition, states), media_type="image/svg+xml")
    return Response(
        graph.render_mermaid(definition, states), media_type="text/plain; charset=utf-8"
    )


@router.post("/{workflow_id}/pause", response_model=WorkflowRead)
def pause_workflow(workflow_id: UUID, starter: WorkflowStarter, session: DbSession) -> Run:
    """No further step starts; those under way end."""
    return workflows.control_workflow(session, starter, workflow_id, controls.pause_run)


@router.post("/{workflow_id}/resume", response_model=WorkflowRead, dependencies=NOTIFY_WORKERS)
def resume_workflow(workflow_id: UUID, starter: WorkflowStarter, session: DbSession) -> Run:
    """A paused run goes on."""
    return workflows.control_workflow(session, starter, workflow_id, controls.resume_run)


@router.post("/{workflow_id}/cancel", response_model=WorkflowRead, dependencies=NOTIFY_WORKERS)
def cancel_workflow(workflow_id: UUID, starter: WorkflowStarter, session: DbSession) -> Run:
    """End a run; what it did is undone where its definition says how."""
    return workflows.control_workflow(session, starter, workflow_id, controls.cancel_run)


@router.post(
    "/{workflow_id}/retry",
    response_model=WorkflowRead,
    status_code=201,
    dependencies=[*IDEMPOTENT, *NOTIFY_WORKERS],
)
def retry_workflow(
    workflow_id: UUID, wanted: WorkflowRetry, starter: WorkflowStarter, session: DbSession
) -> Run:
    """A new run that goes on where this one failed or was cancelled."""
    return workflows.retry_workflow(session, starter, workflow_id, wanted)


@router.post(
    "/{workflow_id}/rerun",
    response_model=WorkflowRead,
    status_code=201,
    dependencies=[*IDEMPOTENT, *NOTIFY_WORKERS],
)
def rerun_workflow(
    workflow_id: UUID, wanted: WorkflowRerun, starter: WorkflowStarter, session: DbSession
) -> Run:
    """A new run that repeats this one from a step on, or from the start."""
    return workflows.rerun_workflow(session, starter, workflow_id, wanted)
