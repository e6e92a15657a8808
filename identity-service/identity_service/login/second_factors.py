"""The second factor: codes from an authenticator app (TOTP), and recovery codes if it is lost."""

import hmac
import secrets
from base64 import b32encode
from datetime import timedelta
from textwrap import wrap
from time import time
from uuid import UUID

import pyotp
import segno
from sqlalchemy import bindparam, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from chassis.auth import User
from chassis.clock import now
from chassis.errors import Conflict, Unauthenticated

from .. import audit
from ..crypto import tokens
from ..database import CommitOnError
from ..models import Account, Challenge, SecondFactor
from ..rate_limits import RateLimiter, TooManyAttempts
from ..schemas.login import ChallengeRead, NewRecoveryCodes, TotpSetup
from ..sessions import service as session_service
from ..settings import settings

CHALLENGE_SECONDS = 300
TOTP_STEP_SECONDS = 30  # an app shows each code for one step; the steps beside it are accepted too
CODE_COUNT = 10  # recovery codes of a user
WRONG_CODE = "This code is wrong or was already used"

SELECT_STEP = select(SecondFactor.last_step).where(SecondFactor.user_id == bindparam("user_id"))


class WrongCode(CommitOnError, Unauthenticated):
    """Raised for a wrong or used code, and for an expired challenge."""

    def __init__(self) -> None:
        super().__init__(WRONG_CODE)


class SecondFactorEnabled(Conflict):
    """Raised when one must be turned off before another can be set up."""


class SecondFactorNotEnabled(Conflict):
    """Raised when the user has no second factor."""


async def find_second_factor(session: AsyncSession, user_id: UUID) -> SecondFactor | None:
    """Locks the row, so that requests with the same code run one after another."""
    return await session.get(SecondFactor, user_id, with_for_update=True, populate_existing=True)


async def is_enabled(session: AsyncSession | AsyncConnection, user_id: UUID) -> bool:
    return await session.scalar(SELECT_STEP, {"user_id": user_id}) is not None


async def set_up_totp(session: AsyncSession, caller: User) -> TotpSetup:
    """Creates the secret for an authenticator app; enabled once `enable` has seen a code of it."""
    user_id = UUID(caller.user_id)
    # The lock makes two requests at once run one after the other.
    await session.get_one(Account, user_id, with_for_update=True)
    if await is_enabled(session, user_id):
        raise SecondFactorEnabled("Your second factor is already on")
    audit.record(session, "second_factor.set_up", caller=caller, subject=user_id)
    secret = pyotp.random_base32()
    sealed = tokens.seal_secret(secret)
    await session.merge(SecondFactor(user_id=user_id, sealed_secret=sealed, recovery_digests=[]))
    uri = pyotp.TOTP(secret).provisioning_uri(name=caller.email, issuer_name=settings.public_name)
    qr_code = segno.make(uri, micro=False).svg_data_uri(scale=4)  # for the `src` of an <img>
    return TotpSetup(secret=secret, uri=uri, qr_code=qr_code)


async def enable(
    session: AsyncSession, limiter: RateLimiter, caller: User, code: str
) -> NewRecoveryCodes:
    """Ends all other sessions. Raises SecondFactorEnabled, WrongCode and TooManyAttempts."""
    user_id = UUID(caller.user_id)
    # A concurrent login with the password alone has either happened before this lock, and its
    # session ends below, or waits for it and then needs a code.
    await session.get_one(Account, user_id, with_for_update={"key_share": True})
    await session_service.require_open_session(session, caller)
    if await is_enabled(session, user_id):
        raise SecondFactorEnabled("Your second factor is already on")
    factor = await require_code(session, limiter, user_id, code)
    audit.record(session, "second_factor.enabled", caller=caller, subject=user_id)
    await session_service.record_step_up(session, caller)
    await session_service.end_all_sessions(session, caller, user_id, except_id=caller.session_id)
    return generate_recovery_codes(factor)


async def disable(session: AsyncSession, caller: User | None, user_id: UUID) -> None:
    """Deletes the recovery codes too."""
    deleted = delete(SecondFactor).where(SecondFactor.user_id == user_id)
    if await session.scalar(deleted.returning(SecondFactor.user_id)):
        audit.record(session, "second_factor.disabled", caller=caller, subject=user_id)


async def replace_recovery_codes(session: AsyncSession, caller: User) -> NewRecoveryCodes:
    """Makes the old codes invalid. Raises SecondFactorNotEnabled."""
    factor = await find_second_factor(session, UUID(caller.user_id))
    if factor is None or factor.last_step is None:
        raise SecondFactorNotEnabled("You have no second factor")
    audit.record(session, "second_factor.codes_replaced", caller=caller, subject=factor.user_id)
    return generate_recovery_codes(factor)


def generate_recovery_codes(factor: SecondFactor) -> NewRecoveryCodes:
    """Stores only digests of the codes, so they can be shown only now."""
    codes = [b32encode(secrets.token_bytes(10)).decode().lower() for _ in range(CODE_COUNT)]
    factor.recovery_digests = [tokens.compute_digest(code) for code in codes]
    return NewRecoveryCodes(recovery_codes=["-".join(wrap(code, 4)) for code in codes])


async def require_code(
    session: AsyncSession, limiter: RateLimiter, user_id: UUID, code: str
) -> SecondFactor:
    """Uses up a code of the app or a recovery code. Raises WrongCode and TooManyAttempts."""
    wait = await limiter.count_attempt("second factor", str(user_id))
    factor = await find_second_factor(session, user_id)
    if factor and not wait and (use_totp_code(factor, code) or use_recovery_code(factor, code)):
        await limiter.reset_attempts("second factor", str(user_id))
        return factor
    audit.record(session, "second_factor.failed", actor=user_id, subject=user_id)
    if wait:
        await delete_challenges(session, user_id)
        raise TooManyAttempts(wait)
    raise WrongCode


def use_totp_code(factor: SecondFactor, code: str) -> bool:
    """Accepts a current code that is newer than the last one that was used."""
    secret = tokens.unseal_secret(factor.sealed_secret)
    if secret is None:
        return False
    totp = pyotp.TOTP(secret)
    current_step = int(time()) // TOTP_STEP_SECONDS
    for step in range(current_step - 1, current_step + 2):
        is_unused = factor.last_step is None or step > factor.last_step
        if is_unused and hmac.compare_digest(totp.generate_otp(step), code.replace(" ", "")):
            factor.last_step = step
            return True
    return False


def use_recovery_code(factor: SecondFactor, code: str) -> bool:
    used = tokens.compute_digest(code.replace("-", "").replace(" ", "").lower())
    remaining = [kept for kept in factor.recovery_digests if not hmac.compare_digest(kept, used)]
    is_known = len(remaining) < len(factor.recovery_digests)
    factor.recovery_digests = remaining
    return is_known


async def create_challenge(session: AsyncSession, user_id: UUID) -> ChallengeRead:
    """Issues what the code must be sent with, after the password was right."""
    expired = delete(Challenge).where(Challenge.user_id == user_id, Challenge.expires_at <= now())
    await session.execute(expired)
    challenge = secrets.token_urlsafe(32)
    digest = tokens.compute_digest(challenge)
    expires_at = now() + timedelta(seconds=CHALLENGE_SECONDS)
    session.add(Challenge(digest=digest, user_id=user_id, expires_at=expires_at))
    return ChallengeRead(challenge=challenge, expires_in=CHALLENGE_SECONDS)


async def verify_challenge(
    session: AsyncSession, limiter: RateLimiter, challenge: str, code: str
) -> UUID:
    """Deletes the challenge, and returns its user. Raises WrongCode and TooManyAttempts."""
    digest = tokens.compute_digest(challenge)
    pending = select(Challenge).where(Challenge.digest == digest, Challenge.expires_at > now())
    # Locks the account first, as all code does: whatever ends logins comes before or after this.
    owner_id = pending.with_only_columns(Challenge.user_id).scalar_subquery()
    owner = select(Account.id).where(Account.id == owner_id, Account.can_log_in)
    user_id = await session.scalar(owner.with_for_update())
    found = await session.scalar(pending.with_for_update())
    if user_id is None or found is None:
        raise WrongCode
    await require_code(session, limiter, user_id, code)
    await session.delete(found)
    return user_id


async def delete_challenges(session: AsyncSession, user_id: UUID) -> None:
    await session.execute(delete(Challenge).where(Challenge.user_id == user_id))


async def reseal_secrets(session: AsyncSession) -> None:
    """Encrypts all secrets with the newest key, so that previous keys can be removed."""
    for factor in await session.scalars(select(SecondFactor).with_for_update()):
        if secret := tokens.unseal_secret(factor.sealed_secret):
            factor.sealed_secret = tokens.seal_secret(secret)
