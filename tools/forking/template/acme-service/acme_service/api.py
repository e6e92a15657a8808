"""The HTTP API, mounted at /api/v1."""

from typing import Annotated, Any
from uuid import UUID

from acme_service import items
from acme_service.database import DbSession
from acme_service.models import Item
from acme_service.schemas import ItemCreate, ItemRead, ItemUpdate
from chassis.auth import User, require_permission
from chassis.idempotency import idempotent
from chassis.pagination import Page, PageRequest
from chassis.routing import APIRouter

router = APIRouter()

Reader = Annotated[User, require_permission("acme:read")]
Writer = Annotated[User, require_permission("acme:write")]
Idempotent = idempotent(DbSession)


@router.post("/items", response_model=ItemRead, status_code=201, dependencies=[Idempotent])
def create_item(new: ItemCreate, writer: Writer, session: DbSession) -> Item:
    """Save an item owned by the caller."""
    return items.create_item(session, writer, new)


@router.get("/items", response_model=Page[ItemRead])
def list_items(reader: Reader, session: DbSession, page: PageRequest) -> dict[str, Any]:
    """The caller's items, newest first."""
    return items.list_items(session, reader, page)


@router.get("/items/{item_id}", response_model=ItemRead)
def read_item(item_id: UUID, reader: Reader, session: DbSession) -> Item:
    """One item."""
    return items.find_item(session, reader, item_id)


@router.patch("/items/{item_id}", response_model=ItemRead)
def change_item(item_id: UUID, changes: ItemUpdate, writer: Writer, session: DbSession) -> Item:
    """Change an item's name or description."""
    return items.change_item(session, writer, item_id, changes)


@router.delete("/items/{item_id}", status_code=204)
def delete_item(item_id: UUID, writer: Writer, session: DbSession) -> None:
    """Delete an item."""
    items.delete_item(session, writer, item_id)
