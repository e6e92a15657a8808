"""What is done now and then: purging the trash, taking back what has expired, sweeping up."""

from .database import session_maker
from .documents.trash import purge_expired
from .files import storage
from .sharing.outbox import forget_dead
from .sharing.service import take_back_expired


def tidy_up() -> bool:
    """True when there is more. Two processes may do it at once: what one has begun is locked."""
    with session_maker.begin() as session:
        if purge_expired(session) + take_back_expired(session):
            return True
        forget_dead(session)
    storage.remove_leftovers()
    with session_maker() as session:
        unused = list(storage.unused(session))
    for sha256 in unused:
        with session_maker.begin() as session:
            storage.remove_if_unused(session, sha256)
    return False
