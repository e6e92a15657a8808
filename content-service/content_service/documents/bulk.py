"""The same for many documents in one request, each with an outcome of its own."""

from collections.abc import Callable
from uuid import UUID

from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.errors import ServiceError, Unprocessable

from ..access import get_document
from ..models import Level
from ..schemas import BulkOutcome, BulkRequest, BulkResult
from . import trash
from .versions import save_new_version

MAX_TAGS = 20


def change_documents(session: Session, user: User, request: BulkRequest) -> BulkResult:
    """In the order of their ids, so that two of these never wait for each other."""
    done = {
        id: change_document(session, user, request, id) for id in sorted(set(request.document_ids))
    }
    results = [done[id] for id in request.document_ids]
    failed = sum(outcome.status >= 400 for outcome in results)
    return BulkResult(results=results, succeeded=len(results) - failed, failed=failed)


def change_document(
    session: Session, user: User, request: BulkRequest, document_id: UUID
) -> BulkOutcome:
    """In a savepoint: what fails leaves nothing, and the others as they are."""
    try:
        with session.begin_nested():
            ACTIONS[request.action](session, user, document_id, request.tags)
    except ServiceError as error:
        code = type(error).__name__
        return BulkOutcome(
            document_id=document_id, status=error.status_code, code=code, detail=error.message
        )
    return BulkOutcome(document_id=document_id, status=204)


def delete_document(session: Session, user: User, document_id: UUID, tags: list[str]) -> None:
    trash.delete_document(session, user, document_id)


def restore_document(session: Session, user: User, document_id: UUID, tags: list[str]) -> None:
    trash.restore_document(session, user, document_id)


def add_tags(session: Session, user: User, document_id: UUID, tags: list[str]) -> None:
    document = get_document(session, user, document_id, Level.WRITE, lock=True)
    new = dict.fromkeys(tag for tag in tags if tag not in document.tags)
    wanted = [*document.tags, *new]
    if len(wanted) > MAX_TAGS:
        raise Unprocessable.for_field("tags", f"the document would have more than {MAX_TAGS}")
    if wanted != document.tags:
        save_new_version(session, document, user, "document.updated", {"tags": wanted})


ACTIONS: dict[str, Callable[[Session, User, UUID, list[str]], None]] = {
    "delete": delete_document,
    "restore": restore_document,
    "tag": add_tags,
}
