"""Changing a password, resetting a forgotten one, and verifying an email address."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.auth import User

from .. import audit, change_feed
from ..crypto import passwords
from ..machine_access import api_keys
from ..mail import service as mail_service
from ..mail.texts import EmailKind
from ..models import Account
from ..rate_limits import RateLimiter, TooManyAttempts, get_network
from ..schemas.login import PasswordChange, PasswordReset
from ..sessions import service as session_service
from ..users import service as user_service
from . import second_factors
from .service import WRONG_PASSWORD, WrongPassword, replace_password, require_password


async def change_password(
    session: AsyncSession, limiter: RateLimiter, caller: User, change: PasswordChange
) -> None:
    """Ends all other sessions of the user. Raises WrongPassword and TooManyAttempts."""
    old_hash = await require_password(session, limiter, caller, change.current_password)
    new_hash = await passwords.hash_new_password(change.new_password)
    user_id = UUID(caller.user_id)
    if not await replace_password(session, user_id, old_hash, new_hash):
        raise WrongPassword(WRONG_PASSWORD)
    audit.record(session, "password.changed", caller=caller, subject=user_id)
    await finish_password_change(session, user_id)
    await session_service.end_all_sessions(session, caller, user_id, except_id=caller.session_id)


async def reset_password(session: AsyncSession, reset: PasswordReset) -> None:
    """Ends all sessions and deletes all API keys of the link's owner. Raises InvalidLink."""
    user_id = await mail_service.get_link_owner(EmailKind.RESET_PASSWORD, reset.token)
    new_hash = await passwords.hash_new_password(reset.new_password)
    account = await lock_user_and_use_link(session, EmailKind.RESET_PASSWORD, user_id, reset.token)
    if not account.can_log_in:
        raise mail_service.InvalidLink
    if not account.is_verified:
        await remove_unverified_owner_data(session, account)
    account.password_hash = new_hash
    account.is_verified = True
    audit.record(session, "password.reset", subject=user_id)
    await finish_password_change(session, user_id)
    # An attacker may have created keys while they had the account.
    await api_keys.delete_all_api_keys(session, user_id)
    await session_service.end_all_sessions(session, None, user_id)


async def lock_user_and_use_link(
    session: AsyncSession, kind: EmailKind, user_id: UUID, token: str
) -> Account:
    """Locks the account before its emails; all code that locks both uses this order."""
    account = await user_service.get_user(session, user_id, for_update=True)
    await mail_service.use_link(session, kind, token)
    return account


async def remove_unverified_owner_data(session: AsyncSession, account: Account) -> None:
    """Removes what someone without access to the mailbox may have added to the account."""
    account.phone = None
    account.push_tokens = []
    await second_factors.disable(session, None, account.id)


async def finish_password_change(session: AsyncSession, user_id: UUID) -> None:
    """Withdraws pending reset links and login challenges, and emails the user."""
    await mail_service.withdraw_links(session, user_id, EmailKind.RESET_PASSWORD)
    await second_factors.delete_challenges(session, user_id)
    await mail_service.queue_email(session, EmailKind.PASSWORD_CHANGED, user_id)


async def request_link(
    session: AsyncSession, limiter: RateLimiter, kind: EmailKind, email: str
) -> None:
    """Audits requests for unknown emails too, so that they take as long. Raises TooManyAttempts."""
    if wait := await limiter.count_for_network("mail", get_network(audit.get_origin().ip)):
        raise TooManyAttempts(wait, "Too many emails were requested")
    owner = select(Account.id).where(Account.email == email, Account.can_log_in)
    if kind == EmailKind.VERIFY_EMAIL:
        owner = owner.where(~Account.is_verified)
    user_id = await session.scalar(owner)
    audit.record(session, "email.requested", subject=user_id, kind=kind)
    if user_id:
        await mail_service.queue_email(session, kind, user_id)


async def verify_email(session: AsyncSession, token: str) -> None:
    """Raises InvalidLink."""
    user_id = await mail_service.get_link_owner(EmailKind.VERIFY_EMAIL, token)
    account = await lock_user_and_use_link(session, EmailKind.VERIFY_EMAIL, user_id, token)
    account.is_verified = True
    audit.record(session, "email.verified", subject=user_id)
    await change_feed.publish_change(session, user_id=user_id)
