"""Who else may see and change a document."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.errors import Conflict, NotFound
from chassis.pagination import PageParameters, paginate

from . import audit
from .access import find_document
from .models import USER, Access, Document, Level, now


class UnknownPerson(NotFound):
    """Identity knows nobody with this id."""


class UnknownPermission(NotFound):
    """The person was given no permission on this document."""


class OwnersPermission(Conflict):
    """The owner may do everything with a document, always."""


async def known_person(user_id: UUID, request: Request) -> str | None:
    """The id, or None when identity says that there is no such person."""
    try:
        await request.app.state.identity.make_request("GET", f"/api/v1/users/{user_id}/profile")
    except NotFound:
        return None
    return str(user_id)


Recipient = Annotated[str | None, Depends(known_person)]


def list_permissions(
    session: Session, manager: User, document_id: UUID, page: PageParameters
) -> dict[str, Any]:
    find_document(session, manager, document_id, Level.MANAGE)
    permissions = select(Access).where(Access.document_id == document_id)
    return paginate(session, permissions, page, Access.grantee)


def grant(
    session: Session, manager: User, document_id: UUID, recipient: str | None, level: Level
) -> Access:
    document = find_document(session, manager, document_id, Level.MANAGE)
    if recipient is None:  # only now: who may not share the document learns nothing about people
        raise UnknownPerson("user_id: there is no such person")
    refuse_owner(document, recipient)
    values = {"level": level, "granted_by": manager.user_id, "granted_at": now()}
    row = insert(Access).values(document_id=document_id, grantee=USER + recipient, **values)
    row = row.on_conflict_do_update(index_elements=["grantee", "document_id"], set_=values)
    audit.record(
        session, manager, document_id, "permission.granted", user_id=recipient, level=level
    )
    return session.scalars(row.returning(Access)).one()


def revoke(session: Session, manager: User, document_id: UUID, user_id: str) -> None:
    document = find_document(session, manager, document_id, Level.MANAGE)
    refuse_owner(document, user_id)
    gone = delete(Access).where(Access.document_id == document_id, Access.grantee == USER + user_id)
    if session.execute(gone.returning(Access.grantee)).one_or_none() is None:
        raise UnknownPermission("user_id: this person has no permission on the document")
    audit.record(session, manager, document_id, "permission.revoked", user_id=user_id)


def refuse_owner(document: Document, user_id: str) -> None:
    if document.owner_id == user_id:
        raise OwnersPermission("user_id: the owner's permission cannot be changed")
