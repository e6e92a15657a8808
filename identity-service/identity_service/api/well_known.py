"""What anybody may know: the public keys, with which tokens are checked but not signed."""

from chassis.routing import APIRouter

from ..crypto.signing_keys import PUBLIC_JWKS

router = APIRouter()


@router.get("/.well-known/jwks.json", include_in_schema=False)
async def read_jwks() -> dict[str, object]:
    """Empty as long as the keys are secrets (HS256)."""
    return {"keys": PUBLIC_JWKS}
