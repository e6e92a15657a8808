"""Status values of runs, steps and tasks."""

from datetime import UTC, datetime

from chassis import job_queue

# Of a step: those of the job queue, and some more. A step that waits is moved by people, by a
# time, by its branches or by the run that it started; a held one waits until its run is resumed.
PENDING = job_queue.PENDING
RUNNING = job_queue.RUNNING
DONE = job_queue.DONE
WAITING = "waiting"
HELD = "held"
OPEN = (PENDING, RUNNING, WAITING, HELD)

# Of a step and of a run.
FAILED = "failed"
CANCELLED = "cancelled"

# Of a run, which can be running and waiting too.
PAUSED = "paused"
COMPENSATING = "compensating"
COMPLETED = "completed"
ENDED = (COMPLETED, FAILED, CANCELLED)

TASK_OPEN = "open"
TASK_COMPLETED = "completed"
TASK_CLOSED = "closed"

NEVER = datetime(9999, 12, 31, tzinfo=UTC)  # when a step is due that only something else can move
