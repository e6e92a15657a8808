"""What identity's mails say: nothing that whoever caused them wrote, but for a user agent."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any


class EmailKind(StrEnum):
    VERIFY_EMAIL = "verify-email"
    RESET_PASSWORD = "reset-password"
    ALREADY_REGISTERED = "already-registered"
    PASSWORD_CHANGED = "password-changed"
    NEW_DEVICE = "new-device"
    TOKEN_REUSED = "token-reused"


@dataclass(frozen=True)
class EmailText:
    """One with a lifetime carries a link, which is good once and for so long, to `path`."""

    subject: str
    body: str
    lifetime: timedelta | None = None

    @property
    def channels(self) -> list[str]:
        """Whoever has a link has the account: it goes to the mailbox alone."""
        return ["email"] if self.lifetime else ["email", "in_app"]


EMAIL_TEXTS = {
    EmailKind.VERIFY_EMAIL: EmailText(
        "Please confirm your address",
        "An account was opened with this address. If it was you, confirm the address here:\n\n"
        "{link}\n\nThe link works once, for a day. If it was not you, there is nothing to do.",
        timedelta(days=1),
    ),
    EmailKind.RESET_PASSWORD: EmailText(
        "A new password for your account",
        "Somebody, we hope you, asked for a new password for your account. Set it here:\n\n"
        "{link}\n\nThe link works once, for half an hour. If it was not you, there is nothing to"
        " do: your password stays as it is.",
        timedelta(minutes=30),
    ),
    EmailKind.ALREADY_REGISTERED: EmailText(
        "You have an account already",
        "Somebody tried to open an account with this address, which has one already. If it was"
        " you, just log in, or ask for a new password. If it was not, there is nothing to do.",
    ),
    EmailKind.PASSWORD_CHANGED: EmailText(
        "Your password was changed",
        "The password of your account was changed at {at}, from {ip}. If it was not you, ask for a"
        " new password at once.",
    ),
    EmailKind.NEW_DEVICE: EmailText(
        "A new device is logged in to your account",
        "Somebody logged in to your account at {at}, from {ip}, with a device we have not seen"
        " before:\n\n{device}\n\nIf it was not you, change your password at once: that logs"
        " everybody else out.",
    ),
    EmailKind.TOKEN_REUSED: EmailText(
        "We have ended a session of yours",
        "At {at}, from {ip}, somebody used a login token of your account that had been used"
        " before. It may have been stolen, so we ended the session it belongs to. If you were"
        " logged out just now, log in again; if you notice anything odd, change your password.",
    ),
}


def render_email(kind: str, variables: dict[str, Any]) -> dict[str, Any]:
    """The letter as communication takes it."""
    letter = EMAIL_TEXTS[EmailKind(kind)]
    body = letter.body.format(**variables)
    return {"subject": letter.subject, "body": body, "channels": letter.channels}
