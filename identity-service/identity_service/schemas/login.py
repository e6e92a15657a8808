"""Bodies of logging in, of the second factor, and of changing and resetting passwords."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from chassis.schemas import RequestModel, ResponseModel

from .fields import Email, NewPassword, SecondFactorCode, Secret, SecretText


class LoginCredentials(RequestModel):
    email: Email
    password: Secret


class ChallengeAnswer(RequestModel):
    challenge: Secret
    code: SecondFactorCode


class TotpConfirmation(RequestModel):
    code: SecondFactorCode


class StepUpProof(RequestModel):
    """The code if the user has a second factor, otherwise the password."""

    code: SecondFactorCode | None = Field(default=None, repr=False)
    password: SecretText | None = Field(default=None, repr=False)


class PasswordChange(RequestModel):
    current_password: Secret
    new_password: NewPassword


class EmailRequest(RequestModel):
    email: Email


class LinkToken(RequestModel):
    token: Secret


class PasswordReset(LinkToken):
    new_password: NewPassword


class Message(ResponseModel):
    """Tells a person what happened."""

    detail: str


class ChallengeRead(ResponseModel):
    """Replaces the tokens for users with a second factor; answer it at /auth/mfa/verify."""

    mfa_required: bool = True
    challenge: str
    expires_in: int


class TotpSetup(ResponseModel):
    secret: str
    uri: str
    qr_code: str


class RecoveryCodes(ResponseModel):
    recovery_codes: list[str]


class SessionRead(ResponseModel):
    id: UUID
    is_current: bool
    ip: str | None
    user_agent: str | None
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
