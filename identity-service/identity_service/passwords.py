"""Passwords: argon2id, in one thread of low priority, so that logins never slow down the rest."""

import asyncio
import os
import secrets
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from .settings import settings

HASHER = PasswordHasher(
    time_cost=settings.argon2_time_cost,
    memory_cost=settings.argon2_memory_kib,
    parallelism=settings.argon2_parallelism,
)
NOBODYS = HASHER.hash(secrets.token_hex())


def step_back() -> None:
    """Linux alone gives each thread a priority of its own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)


ONE_THREAD = ThreadPoolExecutor(1, "passwords", initializer=step_back)


async def hashed(password: str) -> str:
    return await asyncio.get_running_loop().run_in_executor(ONE_THREAD, HASHER.hash, password)


async def matches(password_hash: str | None, password: str) -> bool:
    """Whether it is the password. With nobody's hash it takes as long to say no."""
    return await asyncio.get_running_loop().run_in_executor(
        ONE_THREAD, verify, password_hash or NOBODYS, password
    )


def verify(password_hash: str, password: str) -> bool:
    try:
        return HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
