"""Creates what must exist at start: service clients, the first administrator, demo users."""

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
from .schemas.users import UserCreate
from .settings import Settings
from .users import roles
from .users import service as user_service

logger = logging.getLogger(__name__)

SEED_LOCK_ID = 7_214_021  # arbitrary; advisory locks are per database
RETRY_SECONDS = 1

DEMO_USERS = (
    ("admin@example.com", "Ada Admin", "admin"),
    ("editor@example.com", "Edgar Editor", "editor"),
    ("reviewer@example.com", "Rita Reviewer", "member"),
    ("viewer@example.com", "Victor Viewer", "viewer"),
    ("outsider@example.com", "Otto Outsider", "guest"),
)


async def wait_and_seed(settings: Settings) -> None:
    """Waits for the database, so that services can be started in any order."""
    while True:
        try:
            return await seed(settings)
        except (OSError, DBAPIError) as error:
            logger.warning("waiting for the database: %s", getattr(error, "orig", error))
            await asyncio.sleep(RETRY_SECONDS)


async def seed(settings: Settings) -> None:
    """Adds what is missing. Processes that start at the same time run this one after another."""
    async with session_maker.begin() as session:
        await session.execute(select(func.pg_advisory_xact_lock(SEED_LOCK_ID)))
        if settings.environment == "development":
            await add_demo_users(session, settings)
        if settings.first_admin_email:
            await add_first_administrator(session, settings)
        await sync_service_clients(session, settings)
        if settings.jwt_previous_secret_keys:
            await second_factors.reseal_secrets(session)


async def add_demo_users(session: AsyncSession, settings: Settings) -> None:
    existing = set(await session.scalars(select(Account.email)))
    password = settings.demo_password.get_secret_value()
    for email, name, role in DEMO_USERS:
        if email in existing:
            continue
        user = UserCreate(email=email, password=password, name=name, roles=[role], is_verified=True)
        password_hash = await passwords.hash_new_password(password)
        await user_service.create_user(session, user, password_hash)


async def add_first_administrator(session: AsyncSession, settings: Settings) -> None:
    """Does nothing if there is an administrator. An existing account keeps its password."""
    if await session.scalar(select(roles.ADMINISTRATOR_EXISTS)):
        return
    email = settings.first_admin_email
    account = await session.scalar(select(Account).where(Account.email == email))
    if account is None:
        password = settings.first_admin_password.get_secret_value()
        new = UserCreate.model_construct(
            email=email, password=password, name="Administrator", roles=["admin"], is_verified=True
        )
        password_hash = await passwords.hash_new_password(password)
        account = await user_service.create_user(session, new, password_hash)
    account.role_objects = await roles.get_assignable_roles(session, ["admin"], None)
    audit.record(session, "administrator.seeded", subject=account.id)


async def sync_service_clients(session: AsyncSession, settings: Settings) -> None:
    """Makes the table match SERVICE_CLIENTS, plus identity itself; deletes all other clients."""
    clients = {client.client_id: client for client in await session.scalars(select(OAuthClient))}
    own_secret = {settings.service_client_id: settings.service_client_secret}
    for client_id, secret in {**settings.service_clients, **own_secret}.items():
        client = clients.pop(client_id, None) or OAuthClient(client_id=client_id)
        client.secret_digest = tokens.compute_digest(secret.get_secret_value())
        client.permissions = settings.get_client_permissions(client_id)
        session.add(client)
    for client in clients.values():
        await session.delete(client)
    if session.deleted or any(session.is_modified(client) for client in session.dirty):
        await change_feed.publish_change(session)
