"""Works off the queue: claims steps, performs them in threads, and writes what came back.

One thread of a process runs the loop. In one transaction it writes the results of all attempts
that have finished, of however many runs, and claims as many steps as it has free slots. A step is
performed by another thread between two cycles, outside of any transaction. When a worker dies that
may happen twice; its effect happens once, because every request carries the step's key.
"""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from functools import partial
from math import inf
from queue import Empty, SimpleQueue
from threading import Lock
from time import monotonic, sleep
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from chassis import job_queue
from chassis.tracing import trace_context

from ..models import Step
from ..neighbours import Neighbours
from ..steps.protocol import StepAttempt
from . import execution, sla
from .execution import FinishedAttempt
from .statuses import NEVER, PENDING, WAITING
from .unprocessable import UnprocessableRun, fail_unprocessable_run, is_database_unavailable

logger = logging.getLogger(__name__)

IDLE_TIMEOUT_SECONDS = 1.0  # the timer of the scheduler calls work() again by then
DATABASE_RETRY_SECONDS = 1.0
HELP_INTERVAL_SECONDS = 0.2
TIMERS_INTERVAL_SECONDS = 1.0
TIMEOUT_GRACE_SECONDS = 5.0  # a step may exceed its time by that before its lease may expire
MAX_WOKEN_STEPS = 1000


@dataclass(eq=False)
class Worker:
    """Performs steps; one per process. Any thread may call work(), and one of them runs the loop.

    A step may take `timeout` seconds, unless its definition says otherwise. `on_saturated` is
    called while all `concurrency` slots are busy: other workers can take over what is due.
    """

    sessions: sessionmaker[Session]
    neighbours: Neighbours
    _: KW_ONLY
    lease: timedelta
    timeout: float
    concurrency: int
    on_saturated: Callable[[], None] = lambda: None
    idle_timeout: float = IDLE_TIMEOUT_SECONDS

    def __post_init__(self) -> None:
        self.stopping = False
        self._pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix="step")
        self._inbox: SimpleQueue[FinishedAttempt | None] = SimpleQueue()
        self._under_way: dict[tuple[UUID, int], tuple[StepAttempt, float]] = {}  # by id and fence
        self._loop_lock = Lock()
        self._timers_checked = 0.0
        self._help_called = 0.0

    def work(self) -> None:
        """Run cycles until nothing is due. Returns at once when another thread runs them."""
        self._inbox.put(None)  # makes that thread look again
        while not self._inbox.empty() and self._loop_lock.acquire(blocking=False):
            try:
                self._run_until_idle()
            finally:
                self._loop_lock.release()

    def _run_until_idle(self) -> None:
        renewed = monotonic()
        renewal_interval = self.lease.total_seconds() / 3
        self._timers_checked = 0.0
        finished: list[FinishedAttempt] = []
        while True:
            pause = self._run_cycle(finished)
            if not self._under_way and self._inbox.empty() and pause > self.idle_timeout:
                return
            self._call_for_help()
            finished = self._collect_finished(min(pause, renewed + renewal_interval - monotonic()))
            if monotonic() >= renewed + renewal_interval:
                self._renew_leases()
                renewed = monotonic()

    def _run_cycle(self, finished: list[FinishedAttempt]) -> float:
        """Write results and claim steps; return the seconds until something more is due."""
        free = 0 if self.stopping else self.concurrency - len(self._under_way) + len(finished)
        try:
            self._check_timers()
            with self._transaction() as session:
                execution.finish_attempts(session, finished)
                attempts = self._claim_steps(session, free) if free else []
                pause = execution.get_seconds_until_due(session) if len(attempts) < free else inf
        except Exception as error:
            self._recover(error, finished, free)
            return 0.0
        self._forget(finished)
        self._submit(attempts)
        return pause

    def _recover(self, error: Exception, finished: list[FinishedAttempt], free: int) -> None:
        """Wait for the database, or repeat the cycle run by run, so that one stops no other."""
        if is_database_unavailable(error):
            logger.warning("the database does not answer: %s", error)
            for item in finished:
                self._inbox.put(item)
            sleep(DATABASE_RETRY_SECONDS)
            return
        logger.error("a run cannot be moved: each one gets its own transaction", exc_info=error)
        self._forget(finished)
        for item in finished:
            self._run_isolated(partial(execution.finish_attempts, finished=[item]))
        if free:
            self._submit(self._run_isolated(partial(self._claim_steps, limit=1)))

    def _run_isolated(
        self, operation: Callable[[Session], list[StepAttempt] | None]
    ) -> list[StepAttempt]:
        """Run the operation in its own transaction; a run that cannot be moved fails."""
        try:
            with self._transaction() as session:
                return operation(session) or []
        except UnprocessableRun as error:
            logger.exception("run %s cannot be moved", error.run_id)
            with self._transaction() as session:
                fail_unprocessable_run(session, error.run_id)
            return []

    def _claim_steps(self, session: Session, limit: int) -> list[StepAttempt]:
        return execution.claim_steps(session, self.neighbours, limit, self.lease)

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        with self.sessions.begin() as session, session.no_autoflush:
            yield session

    def _submit(self, attempts: list[StepAttempt]) -> None:
        for attempt in attempts:
            seconds = attempt.step_definition.timeout or self.timeout
            until = monotonic() + seconds + TIMEOUT_GRACE_SECONDS
            self._under_way[attempt.step.id, attempt.step.fence] = (attempt, until)
            self._pool.submit(self._run_attempt, attempt, seconds)

    def _forget(self, finished: list[FinishedAttempt]) -> None:
        for attempt, _ in finished:
            self._under_way.pop((attempt.step.id, attempt.step.fence))

    def _call_for_help(self) -> None:
        is_saturated = len(self._under_way) >= self.concurrency
        if is_saturated and monotonic() > self._help_called + HELP_INTERVAL_SECONDS:
            self._help_called = monotonic()
            self.on_saturated()

    def _check_timers(self) -> None:
        """Wake due steps and handle what is late, each run in its own transaction."""
        if monotonic() > self._timers_checked + TIMERS_INTERVAL_SECONDS:
            self._timers_checked = monotonic()
            with self._transaction() as session:
                wake_waiting_steps(session)
                late = sla.find_late_runs(session)
            for run_id in late:
                self._run_isolated(partial(sla.handle_breaches, run_id=run_id))

    def _run_attempt(self, attempt: StepAttempt, seconds: float) -> None:
        with trace_context(attempt.run.trace_id, seconds):
            outcome = execution.run_attempt(attempt)
            name = type(outcome).__name__
            logger.info("step %s, attempt %d: %s", attempt.step.path, attempt.step.attempts, name)
        self._inbox.put((attempt, outcome))

    def _collect_finished(self, seconds: float) -> list[FinishedAttempt]:
        """Return the attempts that have finished; wait up to `seconds` for the first one."""
        found: list[FinishedAttempt] = []
        try:
            item = self._inbox.get(timeout=max(0.0, seconds))
            while True:
                if item:
                    found.append(item)
                item = self._inbox.get_nowait()
        except Empty:
            return found

    def _renew_leases(self) -> None:
        """Renew all leases but those of steps far over their time: other workers may take these."""
        with suppress(DBAPIError), self.sessions.begin() as session:
            for attempt, until in self._under_way.values():
                if monotonic() < until:
                    job_queue.renew_lease(session, attempt.step, self.lease)


def wake_waiting_steps(session: Session) -> None:
    """Make the steps due that waited for a time which has come."""
    # "< NEVER" changes no result, but lets PostgreSQL use the partial index.
    is_over = (Step.run_at <= func.now(), Step.run_at < NEVER)
    slept = select(Step.id).where(Step.status == WAITING, *is_over)
    some = slept.limit(MAX_WOKEN_STEPS).with_for_update(skip_locked=True).cte()
    awake = update(Step).where(Step.id == some.c.id).values(status=PENDING)
    session.execute(awake.execution_options(synchronize_session=False))
