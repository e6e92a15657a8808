"""What can be done with items. No HTTP in here, and no commit."""

from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from acme_service.models import Item
from acme_service.schemas import ItemCreate, ItemUpdate
from chassis.auth import User
from chassis.errors import Conflict, NotFound, Unprocessable
from chassis.pagination import PageParameters, paginate

ALL_ITEMS_PERMISSION = "acme:all"  # given to no role: only a permission of * holds it


class UnknownItem(NotFound):
    """There is none, or it is somebody else's."""


class DuplicateName(Conflict):
    """An owner's names are unique."""


def select_visible(user: User) -> Select[Item]:
    """One's own. Whoever reads or changes an item goes through here."""
    items = select(Item)
    return (
        items
        if user.has_permission(ALL_ITEMS_PERMISSION)
        else items.where(Item.owner_id == user.user_id)
    )


def create_item(session: Session, owner: User, new: ItemCreate) -> Item:
    """Raises DuplicateName."""
    item = Item(owner_id=owner.user_id, **new.model_dump())
    session.add(item)
    flush(session, item)
    return item


def list_items(session: Session, reader: User, page: PageParameters) -> dict[str, Any]:
    return paginate(session, select_visible(reader), page, Item.id)


def find_item(session: Session, user: User, item_id: UUID) -> Item:
    """Raises UnknownItem."""
    item = session.scalar(select_visible(user).where(Item.id == item_id))
    if item is None:
        raise UnknownItem("There is no such item")
    return item


def change_item(session: Session, owner: User, item_id: UUID, changes: ItemUpdate) -> Item:
    """Raises UnknownItem, DuplicateName, or Unprocessable when nothing is to be changed."""
    values = changes.model_dump(exclude_none=True)
    if not values:
        raise Unprocessable("Give at least one of name and description")
    item = find_item(session, owner, item_id)
    for name, value in values.items():
        setattr(item, name, value)
    flush(session, item)
    return item


def delete_item(session: Session, owner: User, item_id: UUID) -> None:
    session.delete(find_item(session, owner, item_id))


def flush(session: Session, item: Item) -> None:
    """Let the database decide whether the name is free: a look before would race."""
    try:
        session.flush()
    except IntegrityError as error:
        raise DuplicateName("You already have an item of that name") from error
