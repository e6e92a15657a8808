"""Grants of a document to users and roles: given, revoked, expired and explained."""

from typing import Any, Literal
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.clock import now
from chassis.errors import Conflict, NotFound
from chassis.pagination import PageParameters, paginate

from .. import audit
from ..access import LEVELS, can_see_all_documents, get_document, get_grantees, has_level
from ..models import USER_PREFIX, Document, Grant, Level
from ..schemas.sharing import EffectivePermission, PermissionSource, PermissionWrite
from . import links, outbox

EXPIRY_BATCH_SIZE = 1000


class UnknownGrantee(NotFound):
    """Raised when identity knows no user of this id, or no role of this name."""


class UnknownPermission(NotFound):
    """Raised when the user or role has no permission on this document."""


class OwnersPermission(Conflict):
    """Raised when the permission of the owner would change: the owner always has every one."""


def list_permissions(
    session: Session, manager: User, document_id: UUID, page: PageParameters
) -> dict[str, Any]:
    get_document(session, manager, document_id, Level.MANAGE)
    grants = select(Grant).where(Grant.document_id == document_id, has_level(Level.READ))
    return paginate(session, grants, page, Grant.grantee)


def grant_permission(
    session: Session, manager: User, document_id: UUID, grantee: str | None, new: PermissionWrite
) -> Grant:
    """Grant a level, in place of another; a repeated grant changes nothing and notifies no one."""
    document = get_document(session, manager, document_id, Level.MANAGE, lock=True)
    # Checked after the access: who may not share the document learns nothing about users.
    if grantee is None:
        raise UnknownGrantee("There is no such user or role")
    check_not_owner(document, grantee)
    grant = session.get(Grant, (grantee, document_id), with_for_update=True)
    if grant is None:
        grant = Grant(grantee=grantee, document_id=document_id)
        session.add(grant)
    elif (grant.level, grant.expires_at) == (new.level, new.expires_at):
        return grant
    if new.level != Level.MANAGE:
        links.revoke_links_of_grantee(session, manager, grant)
    grant.level = new.level
    grant.expires_at = new.expires_at
    grant.granted_by = manager.user_id
    grant.granted_at = now()
    if grant.user_id:
        outbox.queue_notice(session, manager, document, grant)
    audit.record(session, manager, document_id, "permission.granted", **describe_grant(grant))
    return grant


def revoke_permission(session: Session, manager: User, document_id: UUID, grantee: str) -> None:
    document = get_document(session, manager, document_id, Level.MANAGE, lock=True)
    check_not_owner(document, grantee)
    revoked = delete(Grant).where(Grant.document_id == document_id, Grant.grantee == grantee)
    grant = session.scalar(revoked.returning(Grant))
    if grant is None:
        raise UnknownPermission("This user or role has no permission on the document")
    if grant.user_id:
        outbox.delete_notice(session, grant)
    links.revoke_links_of_grantee(session, manager, grant)
    audit.record(session, manager, document_id, "permission.revoked", **describe_grant(grant))


def delete_expired_grants(session: Session) -> int:
    """Delete a batch of expired grants, which every list has to skip, and return how many."""
    expired = select(Grant.grantee, Grant.document_id).where(Grant.expires_at < func.now())
    batch = expired.limit(EXPIRY_BATCH_SIZE).with_for_update(skip_locked=True).cte()
    is_in_batch = (Grant.grantee == batch.c.grantee) & (Grant.document_id == batch.c.document_id)
    grants = session.scalars(delete(Grant).where(is_in_batch).returning(Grant)).all()
    for grant in grants:
        links.revoke_links_of_grantee(session, None, grant)
        details = describe_grant(grant)
        audit.record(session, None, grant.document_id, "permission.expired", **details)
    return len(grants)


def describe_grant(grant: Grant) -> dict[str, str]:
    """Return the details of a grant for the audit trail."""
    grantee = {"user_id": grant.user_id, "role": grant.role}
    expiry = grant.expires_at.isoformat() if grant.expires_at else None
    details = {**grantee, "level": grant.level, "expires_at": expiry}
    return {name: value for name, value in details.items() if value is not None}


def check_not_owner(document: Document, grantee: str) -> None:
    if grantee == USER_PREFIX + document.owner_id:
        raise OwnersPermission("user_id: the owner's permission cannot be changed")


def get_effective_permission(
    session: Session, reader: User, document_id: UUID, user: User | None
) -> EffectivePermission:
    """Explain what a user may do; readers may ask about themselves, managers about everyone."""
    needed = Level.READ if user is reader else Level.MANAGE
    document = get_document(session, reader, document_id, needed)
    if user is None:
        raise UnknownGrantee("user: there is no such user")
    sources = find_sources(session, document, user)
    level = max((source.level for source in sources), key=LEVELS.index, default=None)
    included = [] if level is None else LEVELS[: LEVELS.index(level) + 1]
    may_change = user.has_permission("documents:write")
    return EffectivePermission(
        user_id=UUID(user.user_id),
        level=level,
        read=Level.READ in included and user.has_permission("documents:read"),
        write=Level.WRITE in included and may_change,
        delete=Level.MANAGE in included and may_change,
        sources=sources,
    )


def find_sources(session: Session, document: Document, user: User) -> list[PermissionSource]:
    """Return every reason why the user may do something with the document."""
    is_theirs = Grant.grantee.in_(get_grantees(user))
    grants = select(Grant).where(Grant.document_id == document.id, is_theirs, has_level(Level.READ))
    sources = []
    for grant in session.scalars(grants):
        source: Literal["owner", "user", "role"] = "role" if grant.role else "user"
        if grant.user_id == document.owner_id:
            source = "owner"
        given: Any = {"role": grant.role, "level": grant.level, "expires_at": grant.expires_at}
        sources.append(PermissionSource(source=source, **given))
    if can_see_all_documents(user):
        sources.append(PermissionSource(source="administrator", level=Level.MANAGE))
    return sources
