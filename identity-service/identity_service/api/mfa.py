"""The second factor: set up, confirmed, asked for at login, turned off."""

from typing import Any
from uuid import UUID

from fastapi import Depends

from chassis.routing import APIRouter

from ..audit import remember_origin
from ..database import DbSession
from ..login import second_factors
from ..login import service as login_service
from ..rate_limits import Limiter
from ..schemas.bodies import (
    ChallengeAnswer,
    RecoveryCodes,
    StepUpProof,
    TokenPair,
    TotpConfirmation,
    TotpSetup,
)
from .dependencies import Person, SteppedUpPerson

router = APIRouter(prefix="/auth", dependencies=[Depends(remember_origin)])


@router.post("/mfa/totp", response_model=TotpSetup)
async def set_up_totp(person: SteppedUpPerson, session: DbSession) -> Any:
    """A secret for your app; it counts once you have confirmed a code."""
    return await second_factors.set_up_totp(session, person)


@router.post("/mfa/totp/confirm", response_model=RecoveryCodes)
async def confirm_totp(
    given: TotpConfirmation, person: Person, limiter: Limiter, session: DbSession
) -> Any:
    """Turn the second factor on with a first code; every other session of yours ends."""
    return await second_factors.enable(session, limiter, person, given.code)


@router.delete("/mfa/totp", status_code=204)
async def disable_totp(person: SteppedUpPerson, session: DbSession) -> None:
    """Turn the second factor off."""
    await second_factors.disable(session, person, UUID(person.user_id))


@router.post("/mfa/recovery-codes", response_model=RecoveryCodes)
async def replace_recovery_codes(person: SteppedUpPerson, session: DbSession) -> Any:
    """New recovery codes in place of the old ones."""
    return await second_factors.replace_recovery_codes(session, person)


@router.post("/mfa/verify", response_model=TokenPair)
async def verify_second_factor(given: ChallengeAnswer, limiter: Limiter, session: DbSession) -> Any:
    """Answer the challenge of a login with a code of the app, or a recovery code."""
    return await login_service.complete_login(session, limiter, given)


@router.post("/step-up", status_code=204)
async def step_up(given: StepUpProof, person: Person, limiter: Limiter, session: DbSession) -> None:
    """Show again that it is you, for what asks for that."""
    await login_service.step_up(session, limiter, person, given)
