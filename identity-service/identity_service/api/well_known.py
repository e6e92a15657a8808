"""The endpoint that publishes the public keys, with which others verify access tokens."""

from chassis.routing import APIRouter

from ..crypto.signing_keys import PUBLIC_JWKS

router = APIRouter()


@router.get("/.well-known/jwks.json", include_in_schema=False)
async def read_jwks() -> dict[str, object]:
    """List the public keys; empty for HS256, whose keys are secrets."""
    return {"keys": PUBLIC_JWKS}
