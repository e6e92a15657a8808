"""Email links: to verify an address, and to set a new password.

Requests for a link are answered alike whether the address is known or not.
"""

from pathlib import Path
from typing import Annotated

from fastapi import Depends, Query
from fastapi.responses import HTMLResponse

from chassis.openapi import raises
from chassis.routing import APIRouter

from ..audit import remember_origin
from ..database import DbSession
from ..login import recovery
from ..mail import service as mail_service
from ..mail.service import InvalidLink
from ..mail.texts import EmailKind
from ..rate_limits import Limiter, TooManyAttempts
from ..schemas.fields import Secret
from ..schemas.login import EmailRequest, LinkToken, Message, PasswordReset

router = APIRouter(prefix="/auth", tags=["Email links"], dependencies=[Depends(remember_origin)])

RESET_PAGE = (Path(__file__).parent.parent / "pages" / "reset-password.html").read_text()
RESET_PAGE_HEADERS = {"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
EmailedToken = Annotated[Secret, Query(description="The token of the link.")]
EMAIL_REQUESTED = Message(detail="If we know this address, we have sent an email to it")
EMAIL_VERIFIED = Message(detail="Thank you: your email address is verified")


@router.post("/forgot-password", response_model=Message, status_code=202)
@raises(TooManyAttempts)
async def request_password_reset(
    body: EmailRequest, limiter: Limiter, session: DbSession
) -> Message:
    """Request an email with a link to set a new password.

    The response is the same whether the address is known or not.
    """
    await recovery.request_link(session, limiter, EmailKind.RESET_PASSWORD, body.email)
    return EMAIL_REQUESTED


@router.get("/reset-password", response_class=HTMLResponse)
@raises(InvalidLink)
async def read_reset_password_page(token: EmailedToken) -> HTMLResponse:
    """Show the page on which the user enters a new password; the emailed link leads here."""
    await mail_service.get_link_owner(EmailKind.RESET_PASSWORD, token)
    return HTMLResponse(RESET_PAGE, headers=RESET_PAGE_HEADERS)


@router.post("/reset-password", status_code=204)
@raises(InvalidLink)
async def reset_password(reset: PasswordReset, session: DbSession) -> None:
    """Set a new password with the token of a link; all sessions end."""
    await recovery.reset_password(session, reset)


@router.post("/resend-verification", response_model=Message, status_code=202)
@raises(TooManyAttempts)
async def resend_verification(body: EmailRequest, limiter: Limiter, session: DbSession) -> Message:
    """Request another verification email."""
    await recovery.request_link(session, limiter, EmailKind.VERIFY_EMAIL, body.email)
    return EMAIL_REQUESTED


@router.get("/verify-email", response_model=Message)
@raises(InvalidLink)
async def follow_verification_link(token: EmailedToken, session: DbSession) -> Message:
    """Verify an email address; the emailed link leads here."""
    await recovery.verify_email(session, token)
    return EMAIL_VERIFIED


@router.post("/verify-email", response_model=Message)
@raises(InvalidLink)
async def verify_email(link: LinkToken, session: DbSession) -> Message:
    """Verify an email address with the token of a link."""
    await recovery.verify_email(session, link.token)
    return EMAIL_VERIFIED
