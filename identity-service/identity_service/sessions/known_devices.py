"""The devices people log in with: they are told of a new one, in case it is not theirs."""

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
HAS_OTHER_DEVICES = exists().where(
    other_devices.c.user_id == bindparam("user_id")
)  # this one is not seen yet
ADD_IF_NEW = (
    insert(devices)
    .values(user_id=bindparam("user_id"), digest=bindparam("digest"))
    .on_conflict_do_nothing()
    .returning(HAS_OTHER_DEVICES)
)


async def record_device(session: AsyncSession, user_id: UUID) -> None:
    """A device is a user agent at an address. The first of all is nobody's news."""
    device = {"user_id": user_id, "digest": tokens.compute_digest(str(audit.get_origin()))}
    if await session.scalar(ADD_IF_NEW, device):
        await mail_service.queue_email(session, EmailKind.NEW_DEVICE, user_id)
