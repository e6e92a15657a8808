"""Migrations keep the users of an existing database working."""

import asyncio
import os
import subprocess
import sys

import asyncpg  # type: ignore[import-untyped]
import pyotp

from identity_service.crypto.passwords import PASSWORD_HASHER
from identity_service.crypto.tokens import compute_digest
from tools.localdev.test_servers import TemporaryServers

from .conftest import FOLDER, PASSWORD, run_service

APP = pyotp.TOTP(pyotp.random_base32())
STORED_HASH = PASSWORD_HASHER.hash(PASSWORD)
OF_THE_FIRST_VERSION = f"""
INSERT INTO roles VALUES ('auditor', 'Of their own.', '{{users:read,audit:read}}', false);
INSERT INTO users VALUES (gen_random_uuid(), 'ada@example.com', 'Ada', '{STORED_HASH}',
    NULL, '{{}}', 'en', 'UTC', true, true, now(), now());
INSERT INTO user_roles SELECT id, 'auditor' FROM users;
INSERT INTO sessions SELECT gen_random_uuid(), id, '192.0.2.7', 'Lynx', now(), now(),
    now() + interval '1 day' FROM users;
INSERT INTO refresh_tokens SELECT '\\x{compute_digest("of then").hex()}', id FROM sessions;
INSERT INTO audit_events SELECT gen_random_uuid(), now(), 'user.created', NULL, NULL, id, NULL,
    NULL, '{{}}' FROM users;
"""
OF_THE_FIFTH = f"""
INSERT INTO second_factors SELECT id, '{APP.secret}', 1, '{{}}' FROM users
    WHERE email = 'ada@example.com';
"""


def migrate(url: str, revision: str) -> None:
    command = [sys.executable, "-m", "alembic", "upgrade", revision]
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": url}
    subprocess.run(command, cwd=FOLDER, env=environment, check=True, capture_output=True)


def execute(url: str, statements: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(statements)
        await connection.close()

    asyncio.run(run())


def test_a_user_from_before_every_migration_can_continue_after_it(
    servers: TemporaryServers,
) -> None:
    servers.postgres.create_database("upgraded", "upgraded")
    url = servers.postgres.get_url("upgraded", "upgraded")
    migrate(url, "0001")
    execute(url, OF_THE_FIRST_VERSION)
    migrate(url, "0005")
    execute(url, OF_THE_FIFTH)
    migrate(url, "head")

    with run_service(DATABASE_URL=url) as client:
        refreshed = client.post("/auth/refresh", json={"refresh_token": "of then"}).json()
        headers = {"Authorization": f"Bearer {refreshed['access_token']}"}
        events = client.get("/api/v1/audit-events", headers=headers).json()["items"]
        credentials = {"email": "ada@example.com", "password": PASSWORD}
        challenge = client.post("/auth/login", json=credentials).json()["challenge"]
        answer = {"challenge": challenge, "code": APP.now()}
        tokens = client.post("/auth/mfa/verify", json=answer).json()
        said = client.post("/auth/validate", json={"token": tokens["access_token"]}).json()

    assert (said["roles"], said["permissions"]) == (["auditor"], ["audit:read", "users:read"])
    assert "user.created" in [event["action"] for event in events]
