"""Integrity: for those who may see every document."""

from typing import Annotated

from fastapi import APIRouter

from chassis.auth import User, require_permission
from chassis.pagination import PageRequest

from ..access import ALL_DOCUMENTS_PERMISSION
from ..database import DbSession
from ..files import integrity
from ..schemas import IntegrityReport

router = APIRouter()

Administrator = Annotated[User, require_permission(ALL_DOCUMENTS_PERMISSION)]


@router.get("/integrity")
def check_files(operator: Administrator, session: DbSession, page: PageRequest) -> IntegrityReport:
    """Read the stored files and name those that are missing or have changed."""
    return integrity.check_files(session, page)
