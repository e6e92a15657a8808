"""The second factor: set up, confirmed, asked for at login, turned off."""

from typing import Any
from uuid import UUID

from fastapi import Depends

from chassis.routing import APIRouter

from ..audit import note_origin
from ..database import DbSession
from ..login import second_factors
from ..login import service as login
from ..rate_limits import Guard
from ..schemas.bodies import (
    CodeOnly,
    RecoveryCodes,
    SecondFactorProof,
    SecondFactorSetUp,
    StepUp,
    TokenPair,
)
from .dependencies import Person, Proven

router = APIRouter(prefix="/auth", dependencies=[Depends(note_origin)])


@router.post("/mfa/totp", response_model=SecondFactorSetUp)
async def set_up(person: Proven, session: DbSession) -> Any:
    """A secret for your app; it counts once you have confirmed a code."""
    return await second_factors.set_up(session, person)


@router.post("/mfa/totp/confirm", response_model=RecoveryCodes)
async def turn_on(given: CodeOnly, person: Person, guard: Guard, session: DbSession) -> Any:
    """Turn the second factor on with a first code; every other session of yours ends."""
    return await second_factors.turn_on(session, guard, person, given.code)


@router.delete("/mfa/totp", status_code=204)
async def turn_off(person: Proven, session: DbSession) -> None:
    """Turn the second factor off."""
    await second_factors.turn_off(session, person, UUID(person.user_id))


@router.post("/mfa/recovery-codes", response_model=RecoveryCodes)
async def replace_codes(person: Proven, session: DbSession) -> Any:
    """New recovery codes in place of the old ones."""
    return await second_factors.replace_codes(session, person)


@router.post("/mfa/verify", response_model=TokenPair)
async def verify(given: SecondFactorProof, guard: Guard, session: DbSession) -> Any:
    """Answer the challenge of a login with a code of the app, or a recovery code."""
    return await login.complete(session, guard, given)


@router.post("/step-up", status_code=204)
async def step_up(given: StepUp, person: Person, guard: Guard, session: DbSession) -> None:
    """Show again that it is you, for what asks for that."""
    await login.step_up(session, guard, person, given)
