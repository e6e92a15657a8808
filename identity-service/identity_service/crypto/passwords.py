"""Hashes passwords with argon2id, in one thread of low priority with a limit on waiting work."""

import asyncio
import os
import secrets
import sys
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from chassis.errors import Unavailable

from ..settings import settings

PASSWORD_HASHER = PasswordHasher(
    time_cost=settings.argon2_time_cost,
    memory_cost=settings.argon2_memory_kib,
    parallelism=settings.argon2_parallelism,
)
# Verified for unknown users, so that they take as long as known ones.
DUMMY_HASH = PASSWORD_HASHER.hash(secrets.token_hex())

HASHING_THREAD_NICENESS = 8  # leaves six sevenths of a busy core to other requests
MAX_WAITING_HASHES = 200  # some seconds of work; clients beyond that would time out anyway
HASH_SLOTS = asyncio.Semaphore(MAX_WAITING_HASHES)
# Anyone can register as often as they like, so half of the slots are reserved for logins.
REGISTRATION_SLOTS = asyncio.Semaphore(MAX_WAITING_HASHES // 2)

Result = TypeVar("Result")


def lower_thread_priority() -> None:
    """Runs at the start of the hashing thread; only Linux has a priority per thread."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), HASHING_THREAD_NICENESS)


HASHING_THREAD = ThreadPoolExecutor(1, "passwords", initializer=lower_thread_priority)


async def run_in_hashing_thread(work: Callable[..., Result], *arguments: str) -> Result:
    """Raises Unavailable when too many requests are waiting already."""
    async with reserve_slot(HASH_SLOTS):
        return await asyncio.get_running_loop().run_in_executor(HASHING_THREAD, work, *arguments)


@asynccontextmanager
async def reserve_slot(slots: asyncio.Semaphore) -> AsyncIterator[None]:
    if slots.locked():
        raise Unavailable("Too many people are logging in; try again in 5 seconds", retry_after=5)
    async with slots:
        yield


async def hash_new_password(password: str) -> str:
    """Raises Unavailable when too many requests are waiting already."""
    async with reserve_slot(REGISTRATION_SLOTS):
        return await run_in_hashing_thread(PASSWORD_HASHER.hash, password)


async def verify_password(password_hash: str | None, password: str) -> bool:
    """Returns False for an unknown user (no hash) too, after the same time."""
    return await run_in_hashing_thread(matches_hash, password_hash or DUMMY_HASH, password)


def matches_hash(password_hash: str, password: str) -> bool:
    try:
        if is_bcrypt_hash(password_hash):
            return bcrypt.checkpw(password.encode()[:72], password_hash.encode())
        return PASSWORD_HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError, ValueError):
        return False


def is_bcrypt_hash(password_hash: str) -> bool:
    """Recognises hashes that were imported from another system."""
    return password_hash.startswith("$2")


async def rehash_if_outdated(password_hash: str, password: str) -> str:
    """Returns the hash, or a new one if it was made with weaker parameters than today's."""
    if is_bcrypt_hash(password_hash) or PASSWORD_HASHER.check_needs_rehash(password_hash):
        return await run_in_hashing_thread(PASSWORD_HASHER.hash, password)
    return password_hash
