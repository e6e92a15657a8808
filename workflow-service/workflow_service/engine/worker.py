"""Works off the queue: claims steps, has their kinds do them, and settles what came of it.

One thread of a process turns the wheel: in one transaction it settles all that has been answered,
of however many runs, and claims as many steps as there are free hands. What a step does happens in
a thread between two turns, in no transaction. It may happen twice when a worker dies; its effect
happens once, because every call carries the step's key.
"""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
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
from . import sla
from .execution import (
    FinishedAttempt,
    claim_steps,
    finish_attempts,
    get_seconds_until_due,
    run_attempt,
)
from .statuses import NEVER, PENDING, WAITING
from .unprocessable import UnprocessableRun, fail_unprocessable_run, is_database_unavailable

logger = logging.getLogger(__name__)

IDLE_TIMEOUT_SECONDS = 1.0  # seconds before the sweep comes by anyway
DATABASE_RETRY_SECONDS = 1.0  # seconds between two questions whether the database is back
TIMEOUT_GRACE_SECONDS = (
    5.0  # seconds that a step may be over its time before its worker is taken for stuck
)
MAX_WOKEN_STEPS = 1000


class Worker:
    """One per process. `work` may be called by any thread at any time; one of them is at it.

    A step may take `timeout` seconds, unless its definition says otherwise. `more` is called when
    there is more to do than this worker has hands.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        neighbours: Neighbours,
        *,
        lease: timedelta,
        timeout: float,
        concurrency: int,
        on_saturated: Callable[[], None] = lambda: None,
        idle_timeout: float = IDLE_TIMEOUT_SECONDS,
    ) -> None:
        self.sessions, self.neighbours, self.lease, self.timeout = (
            sessions, neighbours, lease, timeout
        )  # fmt: skip
        self.concurrency, self.on_saturated, self.idle_timeout = (
            concurrency,
            on_saturated,
            idle_timeout,
        )
        self.stopping = False
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="step")
        self._inbox: SimpleQueue[FinishedAttempt | None] = SimpleQueue()
        self._under_way: dict[tuple[UUID, int], tuple[StepAttempt, float]] = {}  # by id and fence
        self._loop_lock = Lock()
        self._timers_checked = self._saturation_reported = 0.0

    def work(self) -> None:
        """Does what is due until nothing is."""
        self._inbox.put(None)  # whoever is at it looks again
        while not self._inbox.empty() and self._loop_lock.acquire(blocking=False):
            try:
                self._run_until_idle()
            finally:
                self._loop_lock.release()

    def _run_until_idle(self) -> None:
        beat, self._timers_checked = monotonic(), 0.0
        answered: list[FinishedAttempt] = []
        while True:
            pause = self._run_cycle(answered)
            if not self._under_way and self._inbox.empty() and pause > self.idle_timeout:
                return
            if (
                len(self._under_way) >= self.concurrency
                and monotonic() > self._saturation_reported + 0.2
            ):
                self._saturation_reported = monotonic()
                self.on_saturated()
            every = self.lease.total_seconds() / 3
            answered = self._collect_finished(min(pause, beat + every - monotonic()))
            if monotonic() >= beat + every:
                self._renew_leases()
                beat = monotonic()

    def _run_cycle(self, answered: list[FinishedAttempt]) -> float:
        """Settles and claims; gives the seconds until something more is due."""
        free = 0 if self.stopping else self.concurrency - len(self._under_way) + len(answered)
        try:
            self._check_timers()
            with self._transaction() as session:
                finish_attempts(session, answered)
                attempts = claim_steps(session, self.neighbours, free, self.lease) if free else []
                pause = get_seconds_until_due(session) if len(attempts) < free else inf
        except Exception as error:
            self._recover(error, answered, free)
            return 0.0
        self._forget(answered)
        self._submit(attempts)
        return pause

    def _recover(self, error: Exception, answered: list[FinishedAttempt], free: int) -> None:
        """What was answered waits for the database; a run that cannot be moved stops no other."""
        if is_database_unavailable(error):
            logger.warning("the database does not answer: %s", error)
            for item in answered:
                self._inbox.put(item)
            return sleep(DATABASE_RETRY_SECONDS)
        logger.error("some run cannot be moved: one at a time", exc_info=error)
        self._forget(answered)
        for item in answered:
            self._run_isolated(partial(finish_attempts, finished=[item]))
        if free:
            one = partial(claim_steps, neighbours=self.neighbours, limit=1, lease=self.lease)
            self._submit(self._run_isolated(one))
        return None

    def _run_isolated(self, tx: Callable[[Session], list[StepAttempt] | None]) -> list[StepAttempt]:
        """In a transaction of its own. A run that cannot be moved has failed."""
        try:
            with self._transaction() as session:
                return tx(session) or []
        except UnprocessableRun as error:
            logger.exception("run %s cannot be moved", error.run_id)
            with self._transaction() as session:
                fail_unprocessable_run(session, error.run_id)
            return []

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        with self.sessions.begin() as session, session.no_autoflush:
            yield session

    def _submit(self, attempts: list[StepAttempt]) -> None:
        for attempt in attempts:
            seconds = attempt.step_definition.timeout or self.timeout
            self._under_way[attempt.step.id, attempt.step.fence] = (
                attempt,
                monotonic() + seconds + TIMEOUT_GRACE_SECONDS,
            )
            self._pool.submit(self._run_attempt, attempt, seconds)

    def _forget(self, answered: list[FinishedAttempt]) -> None:
        for attempt, _ in answered:
            self._under_way.pop((attempt.step.id, attempt.step.fence))

    def _check_timers(self) -> None:
        """Once a second: whose time has come. Each run by itself, so that none stops the others."""
        if monotonic() > self._timers_checked + 1:
            self._timers_checked = monotonic()
            with self._transaction() as session:
                wake_waiting_steps(session)
                late = sla.find_late_runs(session)
            for run_id in late:
                self._run_isolated(partial(sla.handle_breaches, run_id=run_id))

    def _run_attempt(self, attempt: StepAttempt, seconds: float) -> None:
        with trace_context(attempt.run.trace_id, seconds):
            outcome = run_attempt(attempt)
            name = type(outcome).__name__
            logger.info("step %s, attempt %d: %s", attempt.step.path, attempt.step.attempts, name)
        self._inbox.put((attempt, outcome))

    def _collect_finished(self, seconds: float) -> list[FinishedAttempt]:
        """What has been answered; waits for something to happen, if nothing has."""
        found: list[FinishedAttempt] = []
        try:
            item = self._inbox.get(timeout=max(0.0, seconds))
            while True:
                found += [item] if item else []
                item = self._inbox.get_nowait()
        except Empty:
            return found

    def _renew_leases(self) -> None:
        """A heartbeat. A step that is far over its time gets none: another worker may take it."""
        with suppress(DBAPIError), self.sessions.begin() as session:
            for attempt, until in self._under_way.values():
                if monotonic() < until:
                    job_queue.renew_lease(session, attempt.step, self.lease)


def wake_waiting_steps(session: Session) -> None:
    """Steps that wait for a time, and whose time has come, are due."""
    # < FOREVER says nothing new, but what the index is about.
    slept = select(Step.id).where(
        Step.status == WAITING, Step.run_at <= func.now(), Step.run_at < NEVER
    )
    some = slept.limit(MAX_WOKEN_STEPS).with_for_update(skip_locked=True).cte()
    awake = update(Step).where(Step.id == some.c.id).values(status=PENDING)
    session.execute(awake.execution_options(synchronize_session=False))
