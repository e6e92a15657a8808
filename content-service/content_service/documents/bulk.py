"""The same for many documents in one request, each with an outcome of its own."""

from collections.abc import Callable
from uuid import UUID

from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.errors import ServiceError, Unprocessable

from ..access import find_document
from ..models import Level
from ..schemas import BulkRequest, BulkResult, Outcome
from . import trash
from .versions import move_on

MOST_TAGS = 20


def run(session: Session, user: User, request: BulkRequest) -> BulkResult:
    """In the order of their ids, so that two of these never wait for each other."""
    done = {id: attempt(session, user, request, id) for id in sorted(set(request.document_ids))}
    results = [done[id] for id in request.document_ids]
    failed = sum(outcome.status >= 400 for outcome in results)
    return BulkResult(results=results, succeeded=len(results) - failed, failed=failed)


def attempt(session: Session, user: User, request: BulkRequest, document_id: UUID) -> Outcome:
    """In a savepoint: what fails leaves nothing, and the others as they are."""
    try:
        with session.begin_nested():
            ACTIONS[request.action](session, user, document_id, request.tags)
    except ServiceError as error:
        code = type(error).__name__
        return Outcome(
            document_id=document_id, status=error.status_code, code=code, detail=error.message
        )
    return Outcome(document_id=document_id, status=204)


def delete(session: Session, user: User, document_id: UUID, tags: list[str]) -> None:
    trash.delete_document(session, user, document_id)


def restore(session: Session, user: User, document_id: UUID, tags: list[str]) -> None:
    trash.restore_document(session, user, document_id)


def add_tags(session: Session, user: User, document_id: UUID, tags: list[str]) -> None:
    document = find_document(session, user, document_id, Level.WRITE, lock=True)
    new = dict.fromkeys(tag for tag in tags if tag not in document.tags)
    wanted = [*document.tags, *new]
    if len(wanted) > MOST_TAGS:
        raise Unprocessable.for_field("tags", f"the document would have more than {MOST_TAGS}")
    if wanted != document.tags:
        move_on(session, document, user, "document.updated", {"tags": wanted})


ACTIONS: dict[str, Callable[[Session, User, UUID, list[str]], None]] = {
    "delete": delete,
    "restore": restore,
    "tag": add_tags,
}
