"""The check of stored files, for administrators."""

from chassis.pagination import PageRequest
from chassis.routing import APIRouter

from ..database import DbSession
from ..files import integrity
from ..schemas.integrity import IntegrityReport
from .dependencies import Administrator, Storage

router = APIRouter()


@router.get("/integrity")
def check_files(
    administrator: Administrator, session: DbSession, storage: Storage, page: PageRequest
) -> IntegrityReport:
    """Read the stored files and report those that are missing or damaged."""
    return integrity.check_files(session, storage, page)
