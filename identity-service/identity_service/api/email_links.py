"""What people do with a link from a mail, and how they ask for one: nobody here has a token."""

from pathlib import Path
from typing import Annotated

from fastapi import Depends, Query
from fastapi.responses import FileResponse

from chassis.routing import APIRouter

from ..audit import note_origin
from ..database import DbSession
from ..login import recovery
from ..mail import service as mail
from ..mail.texts import Kind
from ..rate_limits import Guard
from ..schemas.bodies import Address, Link, PasswordReset, Told
from ..schemas.fields import Secret

router = APIRouter(prefix="/auth", dependencies=[Depends(note_origin)])

PAGE = Path(__file__).parent.parent / "pages" / "reset-password.html"
PAGE_HEADERS = {"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
ON_ITS_WAY = {"detail": "If this address is known here, a mail is on its way"}


@router.post("/forgot-password", response_model=Told, status_code=202)
async def forgot_password(given: Address, guard: Guard, session: DbSession) -> object:
    """Ask for a mail with a link to set a new password; the answer says nothing of the address."""
    await recovery.forgot_password(session, guard, given.email)
    return ON_ITS_WAY


@router.get("/reset-password", response_class=FileResponse)
async def reset_password_page(token: Secret) -> FileResponse:
    """Where the link leads: a page that asks for the new password and sends it."""
    await mail.look_at(Kind.RESET, token)
    return FileResponse(PAGE, headers=PAGE_HEADERS)


@router.post("/reset-password", status_code=204)
async def reset_password(given: PasswordReset, session: DbSession) -> None:
    """Set a new password with a link's token; every session ends."""
    await recovery.reset_password(session, given)


@router.post("/resend-verification", response_model=Told, status_code=202)
async def resend_verification(given: Address, guard: Guard, session: DbSession) -> object:
    """Ask for the verification mail again."""
    await recovery.resend_verification(session, guard, given.email)
    return ON_ITS_WAY


@router.get("/verify-email", response_model=Told)
async def follow_link(token: Annotated[Secret, Query()], session: DbSession) -> object:
    """Where the link leads: the address is verified."""
    return await verify_address(token, session)


@router.post("/verify-email", response_model=Told)
async def verify_email(given: Link, session: DbSession) -> object:
    """Verify an address with a link's token."""
    return await verify_address(given.token, session)


async def verify_address(token: str, session: DbSession) -> object:
    await recovery.verify_address(session, token)
    return {"detail": "Thank you: your address is verified"}
