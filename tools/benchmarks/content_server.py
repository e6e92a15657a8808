"""The app that content.py measures: the content service, and the same work in the usual way."""

import os
from typing import Any
from uuid import UUID

from fastapi import Request, Response
from sqlalchemy import select

from chassis.app import create_app
from chassis.pagination import Page, PageRequest, paginate
from chassis.routing import APIRouter
from content_service.access import filter_visible
from content_service.api import router as content
from content_service.api.documents import read_document
from content_service.database import DbSession
from content_service.documents.service import describe_text
from content_service.health import router as health_router
from content_service.models import Document
from content_service.schemas.documents import DocumentCreate, DocumentRead, DocumentWithBody
from content_service.settings import settings
from tools.benchmarks.auth_server import READER

router = APIRouter(prefix="/bench")


@router.get("/orm", response_model=Page[DocumentRead])
def list_objects(page: PageRequest, session: DbSession) -> dict[str, Any]:
    """Return a page of ORM objects, which response_model turns into JSON."""
    return paginate(session, filter_visible(select(Document), READER), page, Document.id)


router.get("/protected/{document_id}")(read_document)


@router.get("/unprotected/{document_id}")
async def read_unprotected(document_id: UUID, request: Request) -> Response:
    return await read_document(document_id, READER, request)


@router.post("/bare", response_model=DocumentWithBody, status_code=201)
def insert_bare(new: DocumentCreate, session: DbSession) -> Document:
    """Insert one row, without access rules, versions, audit trail or authentication."""
    content = {"title": new.title, "tags": new.tags, **describe_text(new.body)._asdict()}
    document = Document(owner_id=os.environ["BENCH_USER_ID"], **content)
    session.add(document)
    session.flush()
    return document


app = create_app(settings)
app.include_router(router)
app.include_router(content, prefix="/api/v1")
app.include_router(health_router)
