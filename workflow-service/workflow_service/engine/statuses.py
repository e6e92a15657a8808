"""What a run, a step and a task can be in the middle of."""

from datetime import UTC, datetime

from chassis import job_queue

# Of a step: those of the queue of record, and some more. It waits for people, a time or its
# lanes; the run is paused; it was not needed any more.
PENDING = job_queue.PENDING
RUNNING = job_queue.RUNNING
DONE = job_queue.DONE
WAITING, HELD, CANCELLED = "waiting", "held", "cancelled"
OPEN = (PENDING, RUNNING, WAITING, HELD)

# Of a run, beside running, waiting and cancelled.
PAUSED, COMPENSATING, COMPLETED, FAILED = "paused", "compensating", "completed", "failed"
ENDED = (COMPLETED, FAILED, CANCELLED)

NEVER = datetime(9999, 12, 31, tzinfo=UTC)  # when a step is due that only others can move


def now() -> datetime:
    return datetime.now(UTC)
