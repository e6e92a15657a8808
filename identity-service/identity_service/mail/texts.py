"""The texts of identity's emails. The only text in them from outside is a user agent."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Literal


class EmailKind(StrEnum):
    VERIFY_EMAIL = "verify-email"
    RESET_PASSWORD = "reset-password"
    ALREADY_REGISTERED = "already-registered"
    PASSWORD_CHANGED = "password-changed"
    NEW_DEVICE = "new-device"
    TOKEN_REUSED = "token-reused"


@dataclass(frozen=True)
class EmailText:
    """Describes an email. With a `link_lifetime`, it has a link that works once and so long."""

    subject: str
    body: str
    link_lifetime: timedelta | None = None

    @property
    def channels(self) -> list[Literal["email", "in_app"]]:
        """A link gives access to the account, so it goes to the mailbox only."""
        return ["email"] if self.link_lifetime else ["email", "in_app"]


EMAIL_TEXTS = {
    EmailKind.VERIFY_EMAIL: EmailText(
        "Please confirm your email address",
        "Welcome! An account was created with this email address. Please confirm that the address"
        " is yours:\n\n{link}\n\nThe link works once, within 24 hours. If you did not create an"
        " account, you can ignore this email.",
        timedelta(days=1),
    ),
    EmailKind.RESET_PASSWORD: EmailText(
        "Set a new password",
        "We received a request to reset the password of your account. You can set a new password"
        " here:\n\n{link}\n\nThe link works once, within 30 minutes. If you did not ask for this,"
        " you can ignore this email: your password stays the same.",
        timedelta(minutes=30),
    ),
    EmailKind.ALREADY_REGISTERED: EmailText(
        "You already have an account",
        "Someone tried to create an account with this email address, but you already have one. If"
        " it was you, please log in, or reset your password if you have forgotten it. If it was"
        " not you, you can ignore this email.",
    ),
    EmailKind.PASSWORD_CHANGED: EmailText(
        "Your password was changed",
        "The password of your account was changed at {at}, from the address {ip}. If it was not"
        " you, reset your password now and check your account.",
    ),
    EmailKind.NEW_DEVICE: EmailText(
        "Login to your account from a new device",
        "There was a login to your account at {at}, from the address {ip}, with a device that we"
        " have not seen before:\n\n{device}\n\nIf it was not you, change your password now. This"
        " logs out all other devices.",
    ),
    EmailKind.TOKEN_REUSED: EmailText(
        "We ended one of your sessions",
        "At {at}, a login token of your account was used a second time, from the address {ip}. It"
        " may have been stolen, so we ended the session that it belongs to. If you were logged out"
        " just now, please log in again. If anything looks unusual, change your password.",
    ),
}
