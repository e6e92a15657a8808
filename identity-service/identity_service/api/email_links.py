"""What people do with a link from a mail, and how they ask for one: nobody here has a token."""

from pathlib import Path
from typing import Annotated

from fastapi import Depends, Query
from fastapi.responses import FileResponse

from chassis.routing import APIRouter

from ..audit import remember_origin
from ..database import DbSession
from ..login import recovery
from ..mail import service as mail_service
from ..mail.texts import EmailKind
from ..rate_limits import Limiter
from ..schemas.bodies import EmailRequest, LinkToken, Message, PasswordReset
from ..schemas.fields import Secret

router = APIRouter(prefix="/auth", dependencies=[Depends(remember_origin)])

RESET_PAGE = Path(__file__).parent.parent / "pages" / "reset-password.html"
RESET_PAGE_HEADERS = {"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
EMAIL_REQUESTED = {"detail": "If this address is known here, a mail is on its way"}


@router.post("/forgot-password", response_model=Message, status_code=202)
async def request_password_reset(
    given: EmailRequest, limiter: Limiter, session: DbSession
) -> object:
    """Ask for a mail with a link to set a new password; the answer says nothing of the address."""
    await recovery.request_password_reset(session, limiter, given.email)
    return EMAIL_REQUESTED


@router.get("/reset-password", response_class=FileResponse)
async def read_reset_password_page(token: Secret) -> FileResponse:
    """Where the link leads: a page that asks for the new password and sends it."""
    await mail_service.get_link_owner(EmailKind.RESET_PASSWORD, token)
    return FileResponse(RESET_PAGE, headers=RESET_PAGE_HEADERS)


@router.post("/reset-password", status_code=204)
async def reset_password(given: PasswordReset, session: DbSession) -> None:
    """Set a new password with a link's token; every session ends."""
    await recovery.reset_password(session, given)


@router.post("/resend-verification", response_model=Message, status_code=202)
async def resend_verification(given: EmailRequest, limiter: Limiter, session: DbSession) -> object:
    """Ask for the verification mail again."""
    await recovery.resend_verification(session, limiter, given.email)
    return EMAIL_REQUESTED


@router.get("/verify-email", response_model=Message)
async def follow_verification_link(token: Annotated[Secret, Query()], session: DbSession) -> object:
    """Where the link leads: the address is verified."""
    return await verify_address(token, session)


@router.post("/verify-email", response_model=Message)
async def verify_email(given: LinkToken, session: DbSession) -> object:
    """Verify an address with a link's token."""
    return await verify_address(given.token, session)


async def verify_address(token: str, session: DbSession) -> object:
    await recovery.verify_email(session, token)
    return {"detail": "Thank you: your address is verified"}
