"""What people do about their own passwords and addresses, with or without a token."""

from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.auth import User

from .. import audit, change_feed
from ..crypto import passwords
from ..machine_access import api_keys
from ..mail import service as mail
from ..mail.texts import Kind
from ..models import Account
from ..rate_limits import Attempts, TooManyAttempts, network_of
from ..schemas.bodies import PasswordChange, PasswordReset
from ..sessions import service as sessions
from ..users import service as users
from . import second_factors
from .service import WrongPassword, replace_password, require_password


async def change_password(
    session: AsyncSession, attempts: Attempts, by: User, change: PasswordChange
) -> None:
    """Ends every other session of the person. Raises WrongPassword and TooManyAttempts."""
    old_hash = await require_password(session, attempts, by, change.current_password)
    new_hash = await passwords.hashed(change.new_password)
    user_id = UUID(by.user_id)
    if not await replace_password(session, user_id, old_hash, new_hash):
        raise WrongPassword("The password is wrong")
    audit.record(session, "password.changed", by=by, subject=user_id)
    await note_new_password(session, user_id)
    await sessions.end_all(session, by, user_id, but=by.session_id)


async def forgot_password(session: AsyncSession, attempts: Attempts, email: str) -> None:
    """A link by mail, if there is somebody with the address. Raises TooManyAttempts."""
    await write_to_address(session, attempts, Kind.RESET, email)


async def reset_password(session: AsyncSession, given: PasswordReset) -> None:
    """Ends every session and API key of whoever has read the mail. Raises LinkUsedUp."""
    user_id = await mail.look_at(Kind.RESET, given.token)
    new_hash = await passwords.hashed(given.new_password)
    account = await follow(session, Kind.RESET, user_id, given.token)
    if not account.is_let_in:
        raise mail.LinkUsedUp
    if not account.is_verified:
        await forget_whoever_was_there(session, account)
    account.password_hash, account.is_verified = new_hash, True
    audit.record(session, "password.reset", subject=user_id)
    await note_new_password(session, user_id)
    # Whoever has lost an account to somebody gets it back without what they log in with.
    await api_keys.remove_all(session, user_id)
    await sessions.end_all(session, None, user_id)


async def follow(session: AsyncSession, kind: Kind, user_id: UUID, token: str) -> Account:
    """Whose link it was; locks them before their mails, like all who lock both."""
    account = await users.find(session, user_id, to_change=True)
    await mail.use_up(session, kind, token)
    return account


async def forget_whoever_was_there(session: AsyncSession, account: Account) -> None:
    """Nobody has shown until now whose mailbox it is: it may all be of somebody else's making."""
    account.phone, account.push_tokens = None, []
    await second_factors.turn_off(session, None, account.id)


async def note_new_password(session: AsyncSession, user_id: UUID) -> None:
    await mail.withdraw_links(session, user_id, Kind.RESET)
    await second_factors.withdraw_challenges(session, user_id)
    await mail.write(session, Kind.PASSWORD_CHANGED, user_id)


async def resend_verification(session: AsyncSession, attempts: Attempts, email: str) -> None:
    """Raises TooManyAttempts."""
    await write_to_address(session, attempts, Kind.VERIFY, email, ~Account.is_verified)


async def write_to_address(
    session: AsyncSession, attempts: Attempts, kind: Kind, email: str, *only: ColumnElement[bool]
) -> None:
    """Recorded whoever it is, so that it takes as long for an address that nobody has."""
    if wait := await attempts.note("mail", network_of(audit.origin()[0])):
        raise TooManyAttempts("Too many mails were asked for", wait)
    whose = select(Account.id).where(Account.email == email, Account.is_let_in, *only)
    user_id = await session.scalar(whose)
    audit.record(session, "mail.asked_for", subject=user_id, kind=kind)
    if user_id:
        await mail.write(session, kind, user_id)


async def verify_address(session: AsyncSession, token: str) -> None:
    """Raises LinkUsedUp."""
    user_id = await mail.look_at(Kind.VERIFY, token)
    account = await follow(session, Kind.VERIFY, user_id, token)
    account.is_verified = True
    audit.record(session, "email.verified", subject=user_id)
    await change_feed.publish(session, user_id=user_id)
