"""Integrity: for those who may see every document."""

from typing import Annotated

from fastapi import APIRouter

from chassis.auth import User, require_permission
from chassis.pagination import PageRequest

from ..access import EVERY_DOCUMENT
from ..database import DbSession
from ..files import integrity
from ..schemas import IntegrityReport

router = APIRouter()

Operator = Annotated[User, require_permission(EVERY_DOCUMENT)]


@router.get("/integrity")
def check_files(operator: Operator, session: DbSession, page: PageRequest) -> IntegrityReport:
    """Read the stored files and name those that are missing or have changed."""
    return integrity.check(session, page)
