"""The server that identity.py compares with: it reads one row by its primary key."""

from uuid import UUID

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from sqlalchemy import bindparam, select

from identity_service.database import autocommit_engine
from identity_service.models import Account

ROW = select(Account.id, Account.email, Account.name).where(Account.id == bindparam("user_id"))

app = FastAPI()


@app.get("/row/{user_id}")
async def read_row(user_id: UUID) -> JSONResponse:
    async with autocommit_engine.connect() as connection:
        found = (await connection.execute(ROW, {"user_id": user_id})).one()
    return JSONResponse({"id": str(found.id), "email": found.email, "name": found.name})


@app.get("/health/ready")
async def ready() -> None:
    """Return 200: the server is ready as soon as it answers."""
