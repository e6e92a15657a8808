"""Passwords: argon2id, in one thread of low priority, so that logins never slow down the rest."""

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

HASHER = PasswordHasher(
    time_cost=settings.argon2_time_cost,
    memory_cost=settings.argon2_memory_kib,
    parallelism=settings.argon2_parallelism,
)
NICE = 8  # leaves the other requests six sevenths of a busy core
NOBODYS = HASHER.hash(secrets.token_hex())
MOST_WAITING = 200  # some seconds of work; whoever comes then would give up before their turn
PLACES = asyncio.Semaphore(MOST_WAITING)
# Strangers can register as often as they like: for logins there is always room.
FOR_NEW = asyncio.Semaphore(MOST_WAITING // 2)

Answer = TypeVar("Answer")


def step_back() -> None:
    """Linux alone gives each thread a priority of its own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


ONE_THREAD = ThreadPoolExecutor(1, "passwords", initializer=step_back)


async def in_turn(work: Callable[..., Answer], *arguments: str) -> Answer:
    """Raises Unavailable when too many wait already."""
    async with place_among(PLACES):
        return await asyncio.get_running_loop().run_in_executor(ONE_THREAD, work, *arguments)


@asynccontextmanager
async def place_among(places: asyncio.Semaphore) -> AsyncIterator[None]:
    if places.locked():
        raise Unavailable("Too many people are logging in at once", retry_after=5)
    async with places:
        yield


async def hashed(password: str) -> str:
    """Of a new password. Raises Unavailable when too many wait already."""
    async with place_among(FOR_NEW):
        return await in_turn(HASHER.hash, password)


async def matches(password_hash: str | None, password: str) -> bool:
    """Whether it is the password. With nobody's hash it takes as long to say no."""
    return await in_turn(verify, password_hash or NOBODYS, password)


def verify(password_hash: str, password: str) -> bool:
    try:
        if is_foreign(password_hash):
            return bcrypt.checkpw(password.encode()[:72], password_hash.encode())
        return HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError, ValueError):
        return False


def is_foreign(password_hash: str) -> bool:
    """From a system that people were brought over from, in bcrypt."""
    return password_hash.startswith("$2")


async def up_to_date(password_hash: str, password: str) -> str:
    """The hash, or a new one if it was made in a weaker way than is asked for now."""
    if is_foreign(password_hash) or HASHER.check_needs_rehash(password_hash):
        return await in_turn(HASHER.hash, password)
    return password_hash
