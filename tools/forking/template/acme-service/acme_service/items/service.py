"""Creates, reads, changes and deletes items. No HTTP in here, and no commit."""

from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.errors import Conflict, NotFound, Unprocessable
from chassis.pagination import PageParameters, paginate

from ..models import Item
from ..schemas import ItemCreate, ItemUpdate

ALL_ITEMS_PERMISSION = "acme:all"  # no role has it: only a permission of * includes it


class UnknownItem(NotFound):
    """Raised when the item does not exist or belongs to another user."""


class DuplicateName(Conflict):
    """Raised when the owner already has an item of that name."""


def select_visible(user: User) -> Select[Item]:
    """Select the items that a user may see. Every read and change of items starts here."""
    items = select(Item)
    if user.has_permission(ALL_ITEMS_PERMISSION):
        return items
    return items.where(Item.owner_id == user.user_id)


def create_item(session: Session, owner: User, new: ItemCreate) -> Item:
    """Raises DuplicateName."""
    item = Item(owner_id=owner.user_id, **new.model_dump())
    session.add(item)
    flush(session)
    return item


def list_items(session: Session, reader: User, page: PageParameters) -> dict[str, Any]:
    return paginate(session, select_visible(reader), page, Item.id)


def get_item(session: Session, user: User, item_id: UUID) -> Item:
    """Raises UnknownItem."""
    item = session.scalar(select_visible(user).where(Item.id == item_id))
    if item is None:
        raise UnknownItem("There is no such item")
    return item


def change_item(session: Session, owner: User, item_id: UUID, changes: ItemUpdate) -> Item:
    """Raises UnknownItem, DuplicateName, or Unprocessable when no field is given."""
    values = changes.model_dump(exclude_none=True)
    if not values:
        raise Unprocessable("Give at least one of name and description")
    item = get_item(session, owner, item_id)
    for name, value in values.items():
        setattr(item, name, value)
    flush(session)
    return item


def delete_item(session: Session, owner: User, item_id: UUID) -> None:
    session.delete(get_item(session, owner, item_id))


def flush(session: Session) -> None:
    """Let the database decide whether the name is free; a check before the insert would race."""
    try:
        session.flush()
    except IntegrityError as error:
        raise DuplicateName("You already have an item of that name") from error
