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
from ..steps.protocol import Call
from . import sla
from .execution import Answered, Unmovable, attempt, claim, give_up, is_away, settle, until_due
from .statuses import FOREVER, PENDING, WAITING

logger = logging.getLogger(__name__)

LINGER = 1.0  # seconds before the sweep comes by anyway
PATIENCE = 1.0  # seconds between two questions whether the database is back
GRACE = 5.0  # seconds that a step may be over its time before its worker is taken for stuck
MOST_WOKEN = 1000


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
        hands: int,
        more: Callable[[], None] = lambda: None,
        linger: float = LINGER,
    ) -> None:
        self.sessions, self.neighbours, self.lease, self.timeout = (
            sessions, neighbours, lease, timeout
        )  # fmt: skip
        self.hands, self.more, self.linger = hands, more, linger
        self.stopping = False
        self._pool = ThreadPoolExecutor(hands, thread_name_prefix="step")
        self._inbox: SimpleQueue[Answered | None] = SimpleQueue()
        self._at_work: dict[tuple[UUID, int], tuple[Call, float]] = {}  # by id and fence
        self._turning = Lock()
        self._swept = self._asked_for_help = 0.0

    def work(self) -> None:
        """Does what is due until nothing is."""
        self._inbox.put(None)  # whoever is at it looks again
        while not self._inbox.empty() and self._turning.acquire(blocking=False):
            try:
                self._turn_until_nothing_is_due()
            finally:
                self._turning.release()

    def _turn_until_nothing_is_due(self) -> None:
        beat, self._swept = monotonic(), 0.0
        answered: list[Answered] = []
        while True:
            pause = self._turn(answered)
            if not self._at_work and self._inbox.empty() and pause > self.linger:
                return
            if len(self._at_work) >= self.hands and monotonic() > self._asked_for_help + 0.2:
                self._asked_for_help = monotonic()
                self.more()
            every = self.lease.total_seconds() / 3
            answered = self._collect(min(pause, beat + every - monotonic()))
            if monotonic() >= beat + every:
                self._renew_leases()
                beat = monotonic()

    def _turn(self, answered: list[Answered]) -> float:
        """Settles and claims; gives the seconds until something more is due."""
        free = 0 if self.stopping else self.hands - len(self._at_work) + len(answered)
        try:
            self._sweep()
            with self._transaction() as session:
                settle(session, answered)
                calls = claim(session, self.neighbours, free, self.lease) if free else []
                pause = until_due(session) if len(calls) < free else inf
        except Exception as error:
            self._make_up_for(error, answered, free)
            return 0.0
        self._let_go_of(answered)
        self._begin(calls)
        return pause

    def _make_up_for(self, error: Exception, answered: list[Answered], free: int) -> None:
        """What was answered waits for the database; a run that cannot be moved stops no other."""
        if is_away(error):
            logger.warning("the database does not answer: %s", error)
            for item in answered:
                self._inbox.put(item)
            return sleep(PATIENCE)
        logger.error("some run cannot be moved: one at a time", exc_info=error)
        self._let_go_of(answered)
        for item in answered:
            self._alone(partial(settle, answered=[item]))
        if free:
            one = partial(claim, neighbours=self.neighbours, limit=1, lease=self.lease)
            self._begin(self._alone(one))
        return None

    def _alone(self, move: Callable[[Session], list[Call] | None]) -> list[Call]:
        """In a transaction of its own. A run that cannot be moved has failed."""
        try:
            with self._transaction() as session:
                return move(session) or []
        except Unmovable as error:
            logger.exception("run %s cannot be moved", error.run_id)
            with self._transaction() as session:
                give_up(session, error.run_id)
            return []

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        with self.sessions.begin() as session, session.no_autoflush:
            yield session

    def _begin(self, calls: list[Call]) -> None:
        for call in calls:
            seconds = call.defined.timeout or self.timeout
            self._at_work[call.step.id, call.step.fence] = call, monotonic() + seconds + GRACE
            self._pool.submit(self._attempt, call, seconds)

    def _let_go_of(self, answered: list[Answered]) -> None:
        for call, _ in answered:
            self._at_work.pop((call.step.id, call.step.fence))

    def _sweep(self) -> None:
        """Once a second: whose time has come. Each run by itself, so that none stops the others."""
        if monotonic() > self._swept + 1:
            self._swept = monotonic()
            with self._transaction() as session:
                wake(session)
                late = sla.late_runs(session)
            for run_id in late:
                self._alone(partial(sla.breach, run_id=run_id))

    def _attempt(self, call: Call, seconds: float) -> None:
        with trace_context(call.run.trace_id, seconds):
            outcome = attempt(call)
            name = type(outcome).__name__
            logger.info("step %s, attempt %d: %s", call.step.path, call.step.attempts, name)
        self._inbox.put((call, outcome))

    def _collect(self, seconds: float) -> list[Answered]:
        """What has been answered; waits for something to happen, if nothing has."""
        found: list[Answered] = []
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
            for call, until in self._at_work.values():
                if monotonic() < until:
                    job_queue.renew_lease(session, call.step, self.lease)


def wake(session: Session) -> None:
    """Steps that wait for a time, and whose time has come, are due."""
    # < FOREVER says nothing new, but what the index is about.
    slept = select(Step.id).where(
        Step.status == WAITING, Step.run_at <= func.now(), Step.run_at < FOREVER
    )
    some = slept.limit(MOST_WOKEN).with_for_update(skip_locked=True).cte()
    awake = update(Step).where(Step.id == some.c.id).values(status=PENDING)
    session.execute(awake.execution_options(synchronize_session=False))
