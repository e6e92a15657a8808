"""The tables."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from chassis.clock import now
from chassis.idempotency import define_keys_table

from .database import Base

# Users are rows of identity's database: here their id is text, as in tokens.
UserId = Annotated[str, mapped_column(sa.Uuid(as_uuid=False))]

idempotency_keys = define_keys_table(Base.metadata)


class Item(Base):
    __tablename__ = "acme_items"
    __table_args__ = (sa.UniqueConstraint("owner_id", "name"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    owner_id: Mapped[UserId]
    name: Mapped[str]
    description: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)
