"""What is done now and then: purging the trash, taking back what has expired, sweeping up."""

from .database import session_maker
from .documents.trash import purge_expired
from .files import storage
from .sharing.outbox import forget_dead
from .sharing.service import delete_expired_grants


def tidy_up() -> bool:
    """True when there is more. Two processes may do it at once: what one has begun is locked."""
    with session_maker.begin() as session:
        if purge_expired(session) + delete_expired_grants(session):
            return True
        forget_dead(session)
    storage.remove_abandoned_uploads()
    with session_maker() as session:
        unused = list(storage.find_unused_files(session))
    for sha256 in unused:
        with session_maker.begin() as session:
            storage.remove_if_unused(session, sha256)
    return False
