"""Deletes what is old: trashed documents, expired grants, dead notices, unused files."""

from .database import session_maker
from .documents.trash import purge_expired
from .files.storage import FileStorage
from .settings import Settings
from .sharing.outbox import delete_dead_notices
from .sharing.service import delete_expired_grants


def run_cleanup(settings: Settings) -> bool:
    """Return True when there is more to do. Rows are locked, so several processes may run it."""
    with session_maker.begin() as session:
        if purge_expired(session, settings.trash_days) + delete_expired_grants(session):
            return True
        delete_dead_notices(session)
    storage = FileStorage(settings.storage_url)
    storage.remove_abandoned_uploads()
    with session_maker() as session:
        unused = list(storage.find_unused(session))
    for sha256 in unused:
        with session_maker.begin() as session:
            storage.remove_if_unused(session, sha256)
    return False
