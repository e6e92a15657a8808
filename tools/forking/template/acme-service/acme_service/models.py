"""The tables."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from acme_service.database import Base
from chassis.idempotency import define_keys_table


def now() -> datetime:
    return datetime.now(UTC)


# A person lives in identity's database: here an id as text, as tokens carry it.
PersonId = Annotated[str, mapped_column(sa.Uuid(as_uuid=False))]

idempotency_keys = define_keys_table(Base.metadata)


class Item(Base):
    __tablename__ = "acme_items"
    __table_args__ = (sa.UniqueConstraint("owner_id", "name"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    owner_id: Mapped[PersonId]
    name: Mapped[str]
    description: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)
