"""The second factor: one-time codes from an app (TOTP), and recovery codes for when it is lost."""

import hmac
import secrets
from base64 import b32encode
from datetime import timedelta
from textwrap import wrap
from time import time
from typing import Any
from uuid import UUID

import pyotp
import segno
from sqlalchemy import bindparam, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from chassis.auth import User
from chassis.errors import Conflict, Unauthenticated

from .. import audit
from ..crypto import tokens
from ..database import Refused, now
from ..models import Account, Challenge, SecondFactor
from ..rate_limits import Attempts, TooManyAttempts
from ..sessions import service as sessions
from ..settings import settings

CHALLENGE_SECONDS = 300
STEP = 30  # seconds that a code is shown; one step early or late is let pass
RECOVERY_CODES = 10
WRONG = "This code is wrong, or was used already"

LAST_STEP = select(SecondFactor.last_step).where(SecondFactor.user_id == bindparam("user_id"))


class WrongCode(Refused, Unauthenticated):
    """A wrong code, one that was used, or the answer to a challenge that is over."""

    def __init__(self) -> None:
        super().__init__(WRONG)


class SecondFactorOn(Conflict):
    """It is on already: it must be turned off before another is set up."""


class SecondFactorOff(Conflict):
    """There is none to be used."""


async def find(session: AsyncSession, user_id: UUID) -> SecondFactor | None:
    return await session.get(SecondFactor, user_id, with_for_update=True, populate_existing=True)


async def is_on(session: AsyncSession | AsyncConnection, user_id: UUID) -> bool:
    return await session.scalar(LAST_STEP, {"user_id": user_id}) is not None


async def set_up(session: AsyncSession, by: User) -> dict[str, Any]:
    """What an app needs to know; it counts once a first code has been confirmed."""
    user_id = UUID(by.user_id)
    await session.get_one(Account, user_id, with_for_update=True)  # two at once take turns
    if await is_on(session, user_id):
        raise SecondFactorOn("Your second factor is on already")
    audit.record(session, "second_factor.set_up", by=by, subject=user_id)
    secret = pyotp.random_base32()
    await session.merge(
        SecondFactor(user_id=user_id, sealed_secret=tokens.sealed(secret), recovery_digests=[])
    )
    uri = pyotp.TOTP(secret).provisioning_uri(name=by.email, issuer_name=settings.public_name)
    return {"secret": secret, "uri": uri, "qr_code": picture(uri)}


def picture(uri: str) -> str:
    """A QR code as the source of an <img>."""
    return segno.make(uri, micro=False).svg_data_uri(scale=4)


async def turn_on(
    session: AsyncSession, attempts: Attempts, by: User, code: str
) -> dict[str, list[str]]:
    """The recovery codes, this once. Every other session of the person ends."""
    user_id = UUID(by.user_id)
    # A login with the password alone comes before, and ends with the others, or finds it on.
    await session.get_one(Account, user_id, with_for_update={"key_share": True})
    await sessions.require_open(session, by)
    if await is_on(session, user_id):
        raise SecondFactorOn("Your second factor is on already")
    factor = await check(session, attempts, user_id, code)
    audit.record(session, "second_factor.on", by=by, subject=user_id)
    await sessions.prove(session, by)
    await sessions.end_all(session, by, user_id, but=by.session_id)
    return new_codes(factor)


async def turn_off(session: AsyncSession, by: User | None, user_id: UUID) -> None:
    """With its recovery codes."""
    theirs = delete(SecondFactor).where(SecondFactor.user_id == user_id)
    if await session.scalar(theirs.returning(SecondFactor.user_id)):
        audit.record(session, "second_factor.off", by=by, subject=user_id)


async def replace_codes(session: AsyncSession, by: User) -> dict[str, list[str]]:
    """Raises SecondFactorOff. The codes of before are good no more."""
    factor = await find(session, UUID(by.user_id))
    if factor is None or factor.last_step is None:
        raise SecondFactorOff("You have no second factor")
    audit.record(session, "second_factor.codes_replaced", by=by, subject=factor.user_id)
    return new_codes(factor)


def new_codes(factor: SecondFactor) -> dict[str, list[str]]:
    codes = [b32encode(secrets.token_bytes(10)).decode().lower() for _ in range(RECOVERY_CODES)]
    factor.recovery_digests = [tokens.digest(code) for code in codes]
    return {"recovery_codes": ["-".join(wrap(code, 4)) for code in codes]}


async def check(
    session: AsyncSession, attempts: Attempts, user_id: UUID, code: str
) -> SecondFactor:
    """Uses the code up. Raises WrongCode and TooManyAttempts, the latter for all networks."""
    wait = await attempts.begin("second factor", str(user_id))
    factor = await find(session, user_id)
    if factor and not wait and is_accepted(factor, code):
        await attempts.forgive("second factor", str(user_id))
        return factor
    audit.record(session, "second_factor.failed", actor=user_id, subject=user_id)
    if wait:
        await withdraw_challenges(session, user_id)
        raise TooManyAttempts(WRONG, wait)
    raise WrongCode


def is_accepted(factor: SecondFactor, code: str) -> bool:
    """A code of about now that comes after the last one that was used, or a recovery code."""
    return is_of_app(factor, code) or is_spare(factor, code)


def is_of_app(factor: SecondFactor, code: str) -> bool:
    secret = tokens.unsealed(factor.sealed_secret)
    if secret is None:
        return False
    totp, this_step = pyotp.TOTP(secret), int(time()) // STEP
    for step in range(this_step - 1, this_step + 2):
        is_new = factor.last_step is None or step > factor.last_step
        if is_new and hmac.compare_digest(totp.generate_otp(step), code.replace(" ", "")):
            factor.last_step = step
            return True
    return False


def is_spare(factor: SecondFactor, code: str) -> bool:
    spare = tokens.digest(code.replace("-", "").replace(" ", "").lower())
    left = [kept for kept in factor.recovery_digests if not hmac.compare_digest(kept, spare)]
    is_known = len(left) < len(factor.recovery_digests)
    factor.recovery_digests = left
    return is_known


async def challenge(session: AsyncSession, user_id: UUID) -> dict[str, Any]:
    """To whoever has given the password: what the code has to be sent with."""
    over = delete(Challenge).where(Challenge.user_id == user_id, Challenge.expires_at <= now())
    await session.execute(over)
    challenge = secrets.token_urlsafe(32)
    ends = now() + timedelta(seconds=CHALLENGE_SECONDS)
    digest = tokens.digest(challenge)
    session.add(Challenge(digest=digest, user_id=user_id, expires_at=ends))
    return {"mfa_required": True, "challenge": challenge, "expires_in": CHALLENGE_SECONDS}


async def answered(session: AsyncSession, attempts: Attempts, challenge: str, code: str) -> UUID:
    """Who has answered; the challenge is over. Raises WrongCode and TooManyAttempts."""
    given = select(Challenge).where(Challenge.digest == tokens.digest(challenge))
    given = given.where(Challenge.expires_at > now())
    # The account first, as everywhere: what ends logins has happened before, or ends this one too.
    whose = given.with_only_columns(Challenge.user_id).scalar_subquery()
    theirs = select(Account.id).where(Account.id == whose, Account.is_let_in)
    user_id = await session.scalar(theirs.with_for_update())
    found = await session.scalar(given.with_for_update())
    if user_id is None or found is None:
        raise WrongCode
    await check(session, attempts, user_id, code)
    await session.delete(found)
    return user_id


async def withdraw_challenges(session: AsyncSession, user_id: UUID) -> None:
    await session.execute(delete(Challenge).where(Challenge.user_id == user_id))


async def seal_anew(session: AsyncSession) -> None:
    """With the newest key, so that those of before can go."""
    for factor in await session.scalars(select(SecondFactor).with_for_update()):
        if secret := tokens.unsealed(factor.sealed_secret):
            factor.sealed_secret = tokens.sealed(secret)
