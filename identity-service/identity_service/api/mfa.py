"""Second factor: codes of an authenticator app at login, and recovery codes if the app is lost.

A step-up proves again who is there; sensitive requests need one within the last ten minutes.
"""

from uuid import UUID

from fastapi import Depends

from chassis.openapi import raises
from chassis.routing import APIRouter

from ..audit import remember_origin
from ..database import DbSession
from ..login import second_factors
from ..login import service as login_service
from ..login.second_factors import SecondFactorEnabled, SecondFactorNotEnabled, WrongCode
from ..login.service import WrongPassword
from ..rate_limits import Limiter, TooManyAttempts
from ..schemas.login import (
    ChallengeAnswer,
    NewRecoveryCodes,
    StepUpProof,
    TotpConfirmation,
    TotpSetup,
)
from ..schemas.tokens import TokenPair
from .dependencies import Person, SteppedUpPerson

router = APIRouter(prefix="/auth", tags=["Second factor"], dependencies=[Depends(remember_origin)])


@router.post("/mfa/totp", response_model=TotpSetup, summary="Set up an authenticator app")
@raises(SecondFactorEnabled)
async def set_up_totp(person: SteppedUpPerson, session: DbSession) -> TotpSetup:
    """Get a secret for your authenticator app; confirm a code of the app to turn it on."""
    return await second_factors.set_up_totp(session, person)


@router.post(
    "/mfa/totp/confirm", response_model=NewRecoveryCodes, summary="Confirm an authenticator app"
)
@raises(SecondFactorEnabled, WrongCode, TooManyAttempts)
async def confirm_totp(
    confirmation: TotpConfirmation, person: Person, limiter: Limiter, session: DbSession
) -> NewRecoveryCodes:
    """Turn the second factor on with a first code; all your other sessions end."""
    return await second_factors.enable(session, limiter, person, confirmation.code)


@router.delete("/mfa/totp", status_code=204, summary="Turn off the second factor")
async def disable_totp(person: SteppedUpPerson, session: DbSession) -> None:
    """Turn the second factor off."""
    await second_factors.disable(session, person, UUID(person.user_id))


@router.post("/mfa/recovery-codes", response_model=NewRecoveryCodes)
@raises(SecondFactorNotEnabled)
async def replace_recovery_codes(person: SteppedUpPerson, session: DbSession) -> NewRecoveryCodes:
    """Get new recovery codes; the old ones stop working."""
    return await second_factors.replace_recovery_codes(session, person)


@router.post("/mfa/verify", response_model=TokenPair)
@raises(WrongCode, TooManyAttempts)
async def complete_login(body: ChallengeAnswer, limiter: Limiter, session: DbSession) -> TokenPair:
    """Answer the challenge of a login with a code of your app, or with a recovery code."""
    return await login_service.complete_login(session, limiter, body)


@router.post("/step-up", status_code=204)
@raises(WrongCode, WrongPassword, TooManyAttempts)
async def step_up(proof: StepUpProof, person: Person, limiter: Limiter, session: DbSession) -> None:
    """Prove your identity again, which sensitive endpoints require every ten minutes."""
    await login_service.step_up(session, limiter, person, proof)
