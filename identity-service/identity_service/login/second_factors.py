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
from ..database import CommitOnError, now
from ..models import Account, Challenge, SecondFactor
from ..rate_limits import RateLimiter, TooManyAttempts
from ..sessions import service as session_service
from ..settings import settings

CHALLENGE_SECONDS = 300
TOTP_STEP_SECONDS = 30  # seconds that a code is shown; one step early or late is let pass
RECOVERY_CODE_COUNT = 10
WRONG_CODE = "This code is wrong, or was used already"

SELECT_LAST_STEP = select(SecondFactor.last_step).where(
    SecondFactor.user_id == bindparam("user_id")
)


class WrongCode(CommitOnError, Unauthenticated):
    """A wrong code, one that was used, or the answer to a challenge that is over."""

    def __init__(self) -> None:
        super().__init__(WRONG_CODE)


class SecondFactorEnabled(Conflict):
    """It is on already: it must be turned off before another is set up."""


class SecondFactorNotEnabled(Conflict):
    """There is none to be used."""


async def find_second_factor(session: AsyncSession, user_id: UUID) -> SecondFactor | None:
    return await session.get(SecondFactor, user_id, with_for_update=True, populate_existing=True)


async def is_enabled(session: AsyncSession | AsyncConnection, user_id: UUID) -> bool:
    return await session.scalar(SELECT_LAST_STEP, {"user_id": user_id}) is not None


async def set_up_totp(session: AsyncSession, caller: User) -> dict[str, Any]:
    """What an app needs to know; it counts once a first code has been confirmed."""
    user_id = UUID(caller.user_id)
    await session.get_one(Account, user_id, with_for_update=True)  # two at once take turns
    if await is_enabled(session, user_id):
        raise SecondFactorEnabled("Your second factor is on already")
    audit.record(session, "second_factor.set_up", caller=caller, subject=user_id)
    secret = pyotp.random_base32()
    await session.merge(
        SecondFactor(user_id=user_id, sealed_secret=tokens.seal_secret(secret), recovery_digests=[])
    )
    uri = pyotp.TOTP(secret).provisioning_uri(name=caller.email, issuer_name=settings.public_name)
    return {"secret": secret, "uri": uri, "qr_code": draw_qr_code(uri)}


def draw_qr_code(uri: str) -> str:
    """A QR code as the source of an <img>."""
    return segno.make(uri, micro=False).svg_data_uri(scale=4)


async def enable(
    session: AsyncSession, limiter: RateLimiter, caller: User, code: str
) -> dict[str, list[str]]:
    """The recovery codes, this once. Every other session of the person ends."""
    user_id = UUID(caller.user_id)
    # A login with the password alone comes before, and ends with the others, or finds it on.
    await session.get_one(Account, user_id, with_for_update={"key_share": True})
    await session_service.require_open_session(session, caller)
    if await is_enabled(session, user_id):
        raise SecondFactorEnabled("Your second factor is on already")
    factor = await require_code(session, limiter, user_id, code)
    audit.record(session, "second_factor.on", caller=caller, subject=user_id)
    await session_service.record_step_up(session, caller)
    await session_service.end_all_sessions(
        session, caller, user_id, except_session_id=caller.session_id
    )
    return generate_recovery_codes(factor)


async def disable(session: AsyncSession, caller: User | None, user_id: UUID) -> None:
    """With its recovery codes."""
    theirs = delete(SecondFactor).where(SecondFactor.user_id == user_id)
    if await session.scalar(theirs.returning(SecondFactor.user_id)):
        audit.record(session, "second_factor.off", caller=caller, subject=user_id)


async def replace_recovery_codes(session: AsyncSession, caller: User) -> dict[str, list[str]]:
    """Raises SecondFactorOff. The codes of before are good no more."""
    factor = await find_second_factor(session, UUID(caller.user_id))
    if factor is None or factor.last_step is None:
        raise SecondFactorNotEnabled("You have no second factor")
    audit.record(session, "second_factor.codes_replaced", caller=caller, subject=factor.user_id)
    return generate_recovery_codes(factor)


def generate_recovery_codes(factor: SecondFactor) -> dict[str, list[str]]:
    codes = [
        b32encode(secrets.token_bytes(10)).decode().lower() for _ in range(RECOVERY_CODE_COUNT)
    ]
    factor.recovery_digests = [tokens.compute_digest(code) for code in codes]
    return {"recovery_codes": ["-".join(wrap(code, 4)) for code in codes]}


async def require_code(
    session: AsyncSession, limiter: RateLimiter, user_id: UUID, code: str
) -> SecondFactor:
    """Uses the code up. Raises WrongCode and TooManyAttempts, the latter for all networks."""
    wait = await limiter.count_attempt("second factor", str(user_id))
    factor = await find_second_factor(session, user_id)
    if factor and not wait and use_code(factor, code):
        await limiter.reset_attempts("second factor", str(user_id))
        return factor
    audit.record(session, "second_factor.failed", actor=user_id, subject=user_id)
    if wait:
        await delete_challenges(session, user_id)
        raise TooManyAttempts(WRONG_CODE, wait)
    raise WrongCode


def use_code(factor: SecondFactor, code: str) -> bool:
    """A code of about now that comes after the last one that was used, or a recovery code."""
    return use_totp_code(factor, code) or use_recovery_code(factor, code)


def use_totp_code(factor: SecondFactor, code: str) -> bool:
    secret = tokens.unseal_secret(factor.sealed_secret)
    if secret is None:
        return False
    totp, this_step = pyotp.TOTP(secret), int(time()) // TOTP_STEP_SECONDS
    for step in range(this_step - 1, this_step + 2):
        is_new = factor.last_step is None or step > factor.last_step
        if is_new and hmac.compare_digest(totp.generate_otp(step), code.replace(" ", "")):
            factor.last_step = step
            return True
    return False


def use_recovery_code(factor: SecondFactor, code: str) -> bool:
    spare = tokens.compute_digest(code.replace("-", "").replace(" ", "").lower())
    left = [kept for kept in factor.recovery_digests if not hmac.compare_digest(kept, spare)]
    is_known = len(left) < len(factor.recovery_digests)
    factor.recovery_digests = left
    return is_known


async def create_challenge(session: AsyncSession, user_id: UUID) -> dict[str, Any]:
    """To whoever has given the password: what the code has to be sent with."""
    over = delete(Challenge).where(Challenge.user_id == user_id, Challenge.expires_at <= now())
    await session.execute(over)
    challenge = secrets.token_urlsafe(32)
    ends = now() + timedelta(seconds=CHALLENGE_SECONDS)
    digest = tokens.compute_digest(challenge)
    session.add(Challenge(digest=digest, user_id=user_id, expires_at=ends))
    return {"mfa_required": True, "challenge": challenge, "expires_in": CHALLENGE_SECONDS}


async def answer_challenge(
    session: AsyncSession, limiter: RateLimiter, challenge: str, code: str
) -> UUID:
    """Who has answered; the challenge is over. Raises WrongCode and TooManyAttempts."""
    given = select(Challenge).where(Challenge.digest == tokens.compute_digest(challenge))
    given = given.where(Challenge.expires_at > now())
    # The account first, as everywhere: what ends logins has happened before, or ends this one too.
    whose = given.with_only_columns(Challenge.user_id).scalar_subquery()
    theirs = select(Account.id).where(Account.id == whose, Account.can_log_in)
    user_id = await session.scalar(theirs.with_for_update())
    found = await session.scalar(given.with_for_update())
    if user_id is None or found is None:
        raise WrongCode
    await require_code(session, limiter, user_id, code)
    await session.delete(found)
    return user_id


async def delete_challenges(session: AsyncSession, user_id: UUID) -> None:
    await session.execute(delete(Challenge).where(Challenge.user_id == user_id))


async def reseal_secrets(session: AsyncSession) -> None:
    """With the newest key, so that those of before can go."""
    for factor in await session.scalars(select(SecondFactor).with_for_update()):
        if secret := tokens.unseal_secret(factor.sealed_secret):
            factor.sealed_secret = tokens.seal_secret(secret)
