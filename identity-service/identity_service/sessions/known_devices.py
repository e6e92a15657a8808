"""Remembers the devices each user logs in from, and emails the user about a new one."""

from uuid import UUID

from sqlalchemy import bindparam, exists
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from .. import audit
from ..crypto import tokens
from ..mail import service as mail_service
from ..mail.texts import EmailKind
from ..models import devices

other_devices = devices.alias()
# The row that the same statement inserts is not visible to this subquery.
HAS_OTHER_DEVICES = exists().where(other_devices.c.user_id == bindparam("user_id"))
ADD_IF_NEW = (
    insert(devices)
    .values(user_id=bindparam("user_id"), digest=bindparam("digest"))
    .on_conflict_do_nothing()
    .returning(HAS_OTHER_DEVICES)
)


async def record_device(session: AsyncSession, user_id: UUID) -> None:
    """Takes a user agent at an address as a device. A user's first device is not reported."""
    digest = tokens.compute_digest(str(tuple(audit.get_origin())))
    if await session.scalar(ADD_IF_NEW, {"user_id": user_id, "digest": digest}):
        await mail_service.queue_email(session, EmailKind.NEW_DEVICE, user_id)
