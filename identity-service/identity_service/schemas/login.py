"""Bodies of logging in, of the second factor, and of changing and resetting passwords."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from chassis.schemas import RequestModel, ResponseModel, example

from .fields import Email, NewPassword, SecondFactorCode, Secret, SecretText


class LoginCredentials(RequestModel):
    model_config = example(email="ada@example.com", password="a long and private sentence")

    email: Email
    password: Secret


class ChallengeAnswer(RequestModel):
    model_config = example(challenge="kZ1vB9s3Qn0", code="492039")

    challenge: Secret = Field(description="The `challenge` of the login.", repr=False)
    code: SecondFactorCode = Field(description="A code of the app, or a recovery code.")


class TotpConfirmation(RequestModel):
    model_config = example(code="492039")

    code: SecondFactorCode


class StepUpProof(RequestModel):
    """The code if the user has a second factor, otherwise the password."""

    model_config = example(password="a long and private sentence")

    code: SecondFactorCode | None = Field(default=None, repr=False)
    password: SecretText | None = Field(default=None, repr=False)


class PasswordChange(RequestModel):
    model_config = example(
        current_password="a long and private sentence", new_password="another private sentence"
    )

    current_password: Secret
    new_password: NewPassword


class EmailRequest(RequestModel):
    model_config = example(email="ada@example.com")

    email: Email


class LinkToken(RequestModel):
    model_config = example(token="kZ1vB9s3Qn0")

    token: Secret = Field(description="The token of the link.", repr=False)


class PasswordReset(LinkToken):
    model_config = example(token="kZ1vB9s3Qn0", new_password="another private sentence")

    new_password: NewPassword


class Message(ResponseModel):
    """Tells a person what happened."""

    detail: str


class ChallengeRead(ResponseModel):
    """Replaces the tokens for users with a second factor; answer it at /auth/mfa/verify."""

    mfa_required: bool = Field(default=True, description="Always true.")
    challenge: str
    expires_in: int = Field(description="Seconds.")


class TotpSetup(ResponseModel):
    secret: str = Field(description="To type into the app.")
    uri: str = Field(description="The same as an `otpauth://` address.")
    qr_code: str = Field(description="The same as an SVG image in a `data:` address, to scan.")


class NewRecoveryCodes(ResponseModel):
    recovery_codes: list[str] = Field(description="Each works once; they are shown only now.")


class SessionRead(ResponseModel):
    id: UUID
    is_current: bool = Field(description="Whether this request belongs to it.")
    ip: str | None
    user_agent: str | None
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
