"""The devices people log in with: they are told of a new one, in case it is not theirs."""

from uuid import UUID

from sqlalchemy import bindparam, exists
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from .. import audit
from ..crypto import tokens
from ..mail import service as mail
from ..mail.texts import Kind
from ..models import devices

others = devices.alias()
HAS_OTHERS = exists().where(others.c.user_id == bindparam("user_id"))  # this one is not seen yet
NEW = (
    insert(devices)
    .values(user_id=bindparam("user_id"), digest=bindparam("digest"))
    .on_conflict_do_nothing()
    .returning(HAS_OTHERS)
)


async def notice(session: AsyncSession, user_id: UUID) -> None:
    """A device is a user agent at an address. The first of all is nobody's news."""
    device = {"user_id": user_id, "digest": tokens.digest(str(audit.origin()))}
    if await session.scalar(NEW, device):
        await mail.write(session, Kind.NEW_DEVICE, user_id)
