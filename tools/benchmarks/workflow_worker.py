"""The worker that workflow.py measures: the service's own, with tasks that do nothing."""

from threading import Lock
from time import perf_counter, sleep

import redis

from workflow_service.celery_app import celery
from workflow_service.settings import settings

RESULT = "bench:seconds"

_lock = Lock()
_times = list[float]()


@celery.task(name="bench.nothing")
def do_nothing(count: int) -> None:
    """Do nothing; the last of `count` tasks stores the seconds since the first."""
    with _lock:
        _times.append(perf_counter())
        if len(_times) == count:
            redis.Redis.from_url(settings.redis_url).set(RESULT, _times[-1] - _times[0])
            _times.clear()


@celery.task(name="bench.pause")
def pause(seconds: float) -> None:
    """Keeps a thread busy, so that what is sent meanwhile waits."""
    sleep(seconds)
