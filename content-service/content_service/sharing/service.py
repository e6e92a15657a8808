"""Who else may see and change a document, and why."""

from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.errors import Conflict, NotFound
from chassis.pagination import PageParameters, paginate

from .. import audit
from ..access import ALL_DOCUMENTS_PERMISSION, LEVELS, get_document, get_grantees, has_level
from ..models import USER_PREFIX, Document, Grant, Level, now
from ..schemas import EffectivePermission, PermissionSource, PermissionWrite
from . import links, outbox

EXPIRY_BATCH_SIZE = 1000


class UnknownGrantee(NotFound):
    """Identity knows no person with this id, or no role of this name."""


class UnknownPermission(NotFound):
    """The person or role was given no permission on this document."""


class OwnersPermission(Conflict):
    """The owner may do everything with a document, always."""


def list_permissions(
    session: Session, manager: User, document_id: UUID, page: PageParameters
) -> dict[str, Any]:
    get_document(session, manager, document_id, Level.MANAGE)
    permissions = select(Grant).where(Grant.document_id == document_id, has_level(Level.READ))
    return paginate(session, permissions, page, Grant.grantee)


def grant_permission(
    session: Session, manager: User, document_id: UUID, grantee: str | None, new: PermissionWrite
) -> Grant:
    """The same once more changes nothing, and nobody is told again."""
    document = get_document(session, manager, document_id, Level.MANAGE, lock=True)
    if grantee is None:  # only now: who may not share the document learns nothing about people
        raise UnknownGrantee("There is no such person or role")
    check_not_owner(document, grantee)
    permission = session.get(Grant, (grantee, document_id), with_for_update=True)
    if permission and (permission.level, permission.expires_at) == (new.level, new.expires_at):
        return permission
    if permission is None:
        permission = Grant(grantee=grantee, document_id=document_id)
        session.add(permission)
    if new.level != Level.MANAGE:
        links.revoke_links_of_grantee(session, manager, permission)
    permission.level, permission.expires_at = new.level, new.expires_at
    permission.granted_by, permission.granted_at = manager.user_id, now()
    if permission.user_id:
        outbox.tell(session, manager, document, permission)
    audit.record(session, manager, document_id, "permission.granted", **describe_grant(permission))
    return permission


def revoke_permission(session: Session, manager: User, document_id: UUID, grantee: str) -> None:
    document = get_document(session, manager, document_id, Level.MANAGE, lock=True)
    check_not_owner(document, grantee)
    gone = delete(Grant).where(Grant.document_id == document_id, Grant.grantee == grantee)
    permission = session.scalar(gone.returning(Grant))
    if permission is None:
        raise UnknownPermission("This person or role has no permission on the document")
    if permission.user_id:
        outbox.forget(session, permission)
    links.revoke_links_of_grantee(session, manager, permission)
    audit.record(session, manager, document_id, "permission.revoked", **describe_grant(permission))


def delete_expired_grants(session: Session) -> int:
    """Some of what has expired, which lists would have to pass over; how many, 0 if that was all.

    It opens nothing since the moment it expired.
    """
    over = select(Grant.grantee, Grant.document_id).where(Grant.expires_at < func.now())
    some = over.limit(EXPIRY_BATCH_SIZE).with_for_update(skip_locked=True).cte()
    is_over = (Grant.grantee == some.c.grantee) & (Grant.document_id == some.c.document_id)
    gone = session.scalars(delete(Grant).where(is_over).returning(Grant)).all()
    for permission in gone:
        links.revoke_links_of_grantee(session, None, permission)
        action = "permission.expired"
        audit.record(session, None, permission.document_id, action, **describe_grant(permission))
    return len(gone)


def describe_grant(permission: Grant) -> dict[str, Any]:
    """What the audit trail keeps."""
    until = permission.expires_at
    values = {
        "user_id": permission.user_id,
        "role": permission.role,
        "level": permission.level,
        "expires_at": until and until.isoformat(),
    }
    return {name: value for name, value in values.items() if value is not None}


def check_not_owner(document: Document, grantee: str) -> None:
    if grantee == USER_PREFIX + document.owner_id:
        raise OwnersPermission("user_id: the owner's permission cannot be changed")


def get_effective_permission(
    session: Session, reader: User, document_id: UUID, person: User | None
) -> EffectivePermission:
    """Everybody may ask for themselves; who manages the document, for anybody."""
    needed = Level.READ if person is reader else Level.MANAGE
    document = get_document(session, reader, document_id, needed)
    if person is None:
        raise UnknownGrantee("user: there is no such person")
    sources = find_sources(session, document, person)
    level = max((source.level for source in sources), key=LEVELS.index, default=None)
    reaches = [] if level is None else LEVELS[: LEVELS.index(level) + 1]
    may_change = person.has_permission("documents:write")
    return EffectivePermission(
        user_id=UUID(person.user_id),
        level=level,
        read=Level.READ in reaches and person.has_permission("documents:read"),
        write=Level.WRITE in reaches and may_change,
        delete=Level.MANAGE in reaches and may_change,
        sources=sources,
    )


def find_sources(session: Session, document: Document, person: User) -> list[PermissionSource]:
    """Every reason for which the person may do something with the document."""
    is_theirs = Grant.grantee.in_(get_grantees(person))
    grants = select(Grant).where(Grant.document_id == document.id, is_theirs, has_level(Level.READ))
    found = [describe_source(document, grant) for grant in session.scalars(grants)]
    if person.has_permission(ALL_DOCUMENTS_PERMISSION):
        found.append(PermissionSource(source="administrator", level=Level.MANAGE))
    return found


def describe_source(document: Document, grant: Grant) -> PermissionSource:
    is_owner = grant.user_id == document.owner_id
    kind: Any = "role" if grant.role else "owner" if is_owner else "user"
    level = Level(grant.level)
    return PermissionSource(source=kind, role=grant.role, level=level, expires_at=grant.expires_at)
