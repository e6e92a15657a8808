"""One action on many documents in one request; each document has its own outcome."""

from collections.abc import Callable
from uuid import UUID

from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.errors import ServiceError, Unprocessable

from ..access import get_document
from ..models import Level
from ..schemas.documents import BulkOutcome, BulkRequest, BulkResult
from ..schemas.fields import MAX_TAGS
from . import trash
from .versions import save_new_version


def change_documents(session: Session, user: User, request: BulkRequest) -> BulkResult:
    # Sorted, so that two requests lock documents in the same order and cannot deadlock.
    outcomes = {
        document_id: change_document(session, user, request, document_id)
        for document_id in sorted(set(request.document_ids))
    }
    results = [outcomes[document_id] for document_id in request.document_ids]
    failed = sum(outcome.status >= 400 for outcome in results)
    return BulkResult(results=results, succeeded=len(results) - failed, failed=failed)


def change_document(
    session: Session, user: User, request: BulkRequest, document_id: UUID
) -> BulkOutcome:
    """Apply the action in a savepoint, so that a failure undoes this document's changes only."""
    try:
        with session.begin_nested():
            ACTIONS[request.action](session, user, document_id, request.tags)
    except ServiceError as error:
        return BulkOutcome(
            document_id=document_id,
            status=error.status_code,
            code=type(error).__name__,
            detail=error.message,
        )
    return BulkOutcome(document_id=document_id, status=204)


def delete_document(session: Session, user: User, document_id: UUID, tags: list[str]) -> None:
    trash.delete_document(session, user, document_id)


def restore_document(session: Session, user: User, document_id: UUID, tags: list[str]) -> None:
    trash.restore_document(session, user, document_id)


def add_tags(session: Session, user: User, document_id: UUID, tags: list[str]) -> None:
    document = get_document(session, user, document_id, Level.WRITE, lock=True)
    new = dict.fromkeys(tag for tag in tags if tag not in document.tags)
    combined = [*document.tags, *new]
    if len(combined) > MAX_TAGS:
        raise Unprocessable.for_field("tags", f"the document would have more than {MAX_TAGS}")
    if combined != document.tags:
        save_new_version(session, document, user, "document.updated", {"tags": combined})


ACTIONS: dict[str, Callable[[Session, User, UUID, list[str]], None]] = {
    "delete": delete_document,
    "restore": restore_document,
    "tag": add_tags,
}
