"""Who else may see and change a document, and why."""

from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.errors import Conflict, NotFound
from chassis.pagination import PageParameters, paginate

from .. import audit
from ..access import EVERY_DOCUMENT, LEVELS, allows, find_document, grantees
from ..models import USER, Access, Document, Level, now
from ..schemas import EffectivePermission, PermissionSource, PermissionWrite
from . import links, outbox

BATCH = 1000


class UnknownGrantee(NotFound):
    """Identity knows no person with this id, or no role of this name."""


class UnknownPermission(NotFound):
    """The person or role was given no permission on this document."""


class OwnersPermission(Conflict):
    """The owner may do everything with a document, always."""


def list_permissions(
    session: Session, manager: User, document_id: UUID, page: PageParameters
) -> dict[str, Any]:
    find_document(session, manager, document_id, Level.MANAGE)
    permissions = select(Access).where(Access.document_id == document_id, allows(Level.READ))
    return paginate(session, permissions, page, Access.grantee)


def grant(
    session: Session, manager: User, document_id: UUID, grantee: str | None, new: PermissionWrite
) -> Access:
    """The same once more changes nothing, and nobody is told again."""
    document = find_document(session, manager, document_id, Level.MANAGE, lock=True)
    if grantee is None:  # only now: who may not share the document learns nothing about people
        raise UnknownGrantee("There is no such person or role")
    refuse_owner(document, grantee)
    permission = session.get(Access, (grantee, document_id), with_for_update=True)
    if permission and (permission.level, permission.expires_at) == (new.level, new.expires_at):
        return permission
    if permission is None:
        permission = Access(grantee=grantee, document_id=document_id)
        session.add(permission)
    if new.level != Level.MANAGE:
        links.revoke_links_of(session, manager, permission)
    permission.level, permission.expires_at = new.level, new.expires_at
    permission.granted_by, permission.granted_at = manager.user_id, now()
    if permission.user_id:
        outbox.tell(session, manager, document, permission)
    audit.record(session, manager, document_id, "permission.granted", **facts(permission))
    return permission


def revoke(session: Session, manager: User, document_id: UUID, grantee: str) -> None:
    document = find_document(session, manager, document_id, Level.MANAGE, lock=True)
    refuse_owner(document, grantee)
    gone = delete(Access).where(Access.document_id == document_id, Access.grantee == grantee)
    permission = session.scalar(gone.returning(Access))
    if permission is None:
        raise UnknownPermission("This person or role has no permission on the document")
    if permission.user_id:
        outbox.forget(session, permission)
    links.revoke_links_of(session, manager, permission)
    audit.record(session, manager, document_id, "permission.revoked", **facts(permission))


def take_back_expired(session: Session) -> int:
    """Some of what has expired, which lists would have to pass over; how many, 0 if that was all.

    It opens nothing since the moment it expired.
    """
    over = select(Access.grantee, Access.document_id).where(Access.expires_at < func.now())
    some = over.limit(BATCH).with_for_update(skip_locked=True).cte()
    is_over = (Access.grantee == some.c.grantee) & (Access.document_id == some.c.document_id)
    gone = session.scalars(delete(Access).where(is_over).returning(Access)).all()
    for permission in gone:
        links.revoke_links_of(session, None, permission)
        action = "permission.expired"
        audit.record(session, None, permission.document_id, action, **facts(permission))
    return len(gone)


def facts(permission: Access) -> dict[str, Any]:
    """What the audit trail keeps."""
    until = permission.expires_at
    values = {
        "user_id": permission.user_id,
        "role": permission.role,
        "level": permission.level,
        "expires_at": until and until.isoformat(),
    }
    return {name: value for name, value in values.items() if value is not None}


def refuse_owner(document: Document, grantee: str) -> None:
    if grantee == USER + document.owner_id:
        raise OwnersPermission("user_id: the owner's permission cannot be changed")


def effective(
    session: Session, reader: User, document_id: UUID, person: User | None
) -> EffectivePermission:
    """Everybody may ask for themselves; who manages the document, for anybody."""
    needed = Level.READ if person is reader else Level.MANAGE
    document = find_document(session, reader, document_id, needed)
    if person is None:
        raise UnknownGrantee("user: there is no such person")
    sources = sources_of(session, document, person)
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


def sources_of(session: Session, document: Document, person: User) -> list[PermissionSource]:
    """Every reason for which the person may do something with the document."""
    is_theirs = Access.grantee.in_(grantees(person))
    grants = select(Access).where(Access.document_id == document.id, is_theirs, allows(Level.READ))
    found = [source_of(document, grant) for grant in session.scalars(grants)]
    if person.has_permission(EVERY_DOCUMENT):
        found.append(PermissionSource(source="administrator", level=Level.MANAGE))
    return found


def source_of(document: Document, grant: Access) -> PermissionSource:
    is_owner = grant.user_id == document.owner_id
    kind: Any = "role" if grant.role else "owner" if is_owner else "user"
    level = Level(grant.level)
    return PermissionSource(source=kind, role=grant.role, level=level, expires_at=grant.expires_at)
