"""Items: each belongs to the user who created it, and only that user can read or change it."""

from typing import Any
from uuid import UUID

from chassis.openapi import raises
from chassis.pagination import Page, PageRequest
from chassis.routing import APIRouter

from ..database import DbSession
from ..items import service
from ..models import Item
from ..schemas import ItemCreate, ItemRead, ItemUpdate
from .dependencies import Idempotent, Reader, Writer

router = APIRouter(tags=["Items"])


@router.post("/items", response_model=ItemRead, status_code=201, dependencies=[Idempotent])
@raises(service.DuplicateName)
def create_item(new: ItemCreate, writer: Writer, session: DbSession) -> Item:
    """Create an item, which the caller owns; its name must be new among theirs."""
    return service.create_item(session, writer, new)


@router.get("/items", response_model=Page[ItemRead])
def list_items(reader: Reader, session: DbSession, page: PageRequest) -> dict[str, Any]:
    """List the caller's items, newest first."""
    return service.list_items(session, reader, page)


@router.get("/items/{item_id}", response_model=ItemRead)
@raises(service.UnknownItem)
def read_item(item_id: UUID, reader: Reader, session: DbSession) -> Item:
    """Read one item."""
    return service.get_item(session, reader, item_id)


@router.patch("/items/{item_id}", response_model=ItemRead)
@raises(service.UnknownItem, service.DuplicateName)
def change_item(item_id: UUID, changes: ItemUpdate, writer: Writer, session: DbSession) -> Item:
    """Change the given fields of an item: its name, its description, or both."""
    return service.change_item(session, writer, item_id, changes)


@router.delete("/items/{item_id}", status_code=204)
@raises(service.UnknownItem)
def delete_item(item_id: UUID, writer: Writer, session: DbSession) -> None:
    """Delete an item."""
    service.delete_item(session, writer, item_id)
