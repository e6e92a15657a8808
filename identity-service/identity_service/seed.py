"""Who is there from the start: the services, and in development some people to log in as."""

import asyncio
import logging

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from . import audit, change_feed
from .crypto import passwords, tokens
from .database import session_maker
from .login import second_factors
from .models import Account, OAuthClient
from .schemas.bodies import UserCreate
from .settings import settings
from .users import roles
from .users import service as user_service

logger = logging.getLogger(__name__)

SEED_LOCK_ID = 7_214_021  # any number of its own; advisory locks are per database

DEMO_USERS = (
    ("admin@example.com", "Ada Admin", "admin"),
    ("editor@example.com", "Edgar Editor", "editor"),
    ("reviewer@example.com", "Rita Reviewer", "member"),
    ("viewer@example.com", "Victor Viewer", "viewer"),
    ("outsider@example.com", "Otto Outsider", "guest"),
)


async def wait_and_seed() -> None:
    """Waits for it: starting in any order is no failure."""
    while True:
        try:
            return await seed()
        except (OSError, DBAPIError) as error:
            logger.warning("waiting for the database: %s", getattr(error, "orig", error))
            await asyncio.sleep(1)


async def seed() -> None:
    """Run at every start: adds what is missing. Processes that start together take turns."""
    async with session_maker.begin() as session:
        await session.execute(select(func.pg_advisory_xact_lock(SEED_LOCK_ID)))
        if settings.environment == "development":
            await add_demo_users(session)
        if settings.first_admin_email:
            await add_first_administrator(session)
        await sync_service_clients(session)
        if settings.jwt_previous_secret_keys:
            await second_factors.reseal_secrets(session)


async def add_demo_users(session: AsyncSession) -> None:
    known = set(await session.scalars(select(Account.email)))
    for email, name, role in DEMO_USERS:
        if email not in known:
            person = UserCreate(
                email=email,
                password=settings.demo_password.get_secret_value(),
                name=name,
                roles=[role],
                is_verified=True,
            )
            await user_service.create_user(
                session, person, await passwords.hash_new_password(person.password)
            )


async def add_first_administrator(session: AsyncSession) -> None:
    """Only while there is none. Who has the address already becomes one and keeps the password."""
    if await session.scalar(select(roles.ADMINISTRATOR_EXISTS)):
        return
    email = settings.first_admin_email
    account = await session.scalar(select(Account).where(Account.email == email))
    if account is None:
        password = settings.first_admin_password.get_secret_value()
        new = UserCreate.model_construct(
            email=email, password=password, name="Administrator", roles=["admin"], is_verified=True
        )
        account = await user_service.create_user(
            session, new, await passwords.hash_new_password(password)
        )
    account.role_objects = await roles.get_assignable_roles(session, ["admin"], None)
    audit.record(session, "administrator.first", subject=account.id)


async def sync_service_clients(session: AsyncSession) -> None:
    """Make the table say what SERVICE_CLIENTS says: who is not in it is a service no more.

    Identity itself need not be in it.
    """
    known = {client.client_id: client for client in await session.scalars(select(OAuthClient))}
    own = {settings.service_client_id: settings.service_client_secret}
    for client_id, secret in {**settings.service_clients, **own}.items():
        client = known.pop(client_id, None) or OAuthClient(client_id=client_id)
        client.secret_digest = tokens.compute_digest(secret.get_secret_value())
        client.permissions = settings.get_client_permissions(client_id)
        session.add(client)
    for client in known.values():
        await session.delete(client)
    if session.deleted or any(session.is_modified(client) for client in session.dirty):
        await change_feed.publish_change(session)
