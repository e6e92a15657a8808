"""The devices people log in with: they are told of a new one, in case it is not theirs."""

from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from . import audit, mails, tokens
from .letters import Kind
from .models import Device


async def notice(session: AsyncSession, user_id: UUID) -> None:
    """A device is a user agent at an address. The first of all is nobody's news."""
    is_first = ~exists().where(Device.user_id == user_id)
    was_first = await session.scalar(select(is_first))
    device = insert(Device).values(user_id=user_id, digest=tokens.digest(str(audit.origin())))
    added = device.on_conflict_do_nothing().returning(Device.user_id)
    if await session.scalar(added) and not was_first:
        await mails.write(session, Kind.NEW_DEVICE, user_id)
