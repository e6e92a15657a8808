"""The tokens: signed access tokens, and refresh tokens that only their holder can read."""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4

from cryptography import fernet
from cryptography.fernet import Fernet, MultiFernet
from jose import jwt
from jose.exceptions import JOSEError

from chassis.errors import Unauthenticated

from ..database import now
from ..settings import settings
from . import signing_keys

REQUIRED_CLAIMS = {f"require_{claim}": True for claim in ("iss", "aud", "sub", "jti", "iat", "exp")}
API_KEY_PREFIX = "key_"  # how each begins, so that it is told from other tokens, by scanners too
SHOWN_API_KEY_LENGTH = 12  # characters of a key by which its owner knows it
MAX_TOKEN_LENGTH = 4096  # characters; ours have about 500


def derive_keys(purpose: bytes) -> list[bytes]:
    """Keys of their own, so that no signature of one purpose ever serves another; newest first."""
    return [
        hmac.digest(secret.encode(), purpose, "sha256") for secret in signing_keys.SIGNING_SECRETS
    ]


REFRESH_TOKEN_KEYS = derive_keys(b"successors of refresh tokens")
LINK_KEY = derive_keys(b"one-time links")[0]
SECRET_CIPHER = MultiFernet(
    [Fernet(urlsafe_b64encode(key)) for key in derive_keys(b"second factors")]
)


class InvalidToken(Unauthenticated):
    """Bad, expired or revoked: a caller is not told which."""

    def __init__(self) -> None:
        super().__init__("Invalid or expired token")


class TokenType(StrEnum):
    """The claim `type`: whose rights a token carries, and what its `sid` names."""

    ACCESS = "access"  # a person's, while the session `sid` is there
    SERVICE = "service"  # the service's own; `sid` is the service
    DELEGATED = "delegated"  # a person's, for the service `sid` to act with


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token whose signature is ours says."""

    token_type: TokenType
    subject: UUID
    session_id: UUID
    expires_at: datetime


def sign_token(
    token_type: TokenType, subject: UUID, session_id: UUID, seconds: int, **more: Any
) -> str:
    """A signed token that is good for so many seconds."""
    issued_at = int(now().timestamp())
    claims = {
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "sub": str(subject),
        "sid": str(session_id),
        "jti": uuid4().hex,
        "iat": issued_at,
        "exp": issued_at + seconds,
        "type": token_type,
    }
    return jwt.encode(
        claims | more, signing_keys.SIGNING_KEY, signing_keys.ALGORITHM, signing_keys.TOKEN_HEADERS
    )


def decode_token(token: str) -> Claims:
    """Raises InvalidToken for every token but an unexpired one of ours."""
    claims = verify_signature(token)
    if claims.expires_at <= now():
        raise InvalidToken
    return claims


@lru_cache(maxsize=2_000)  # of good ones: what is refused is not kept
def verify_signature(token: str) -> Claims:
    """A signature does not change, and checking it costs as much as asking the database."""
    if len(token) > MAX_TOKEN_LENGTH:
        raise InvalidToken
    try:
        claims = jwt.decode(
            token,
            signing_keys.VERIFICATION_KEYS,  # type: ignore[arg-type]  # any of them
            algorithms=[signing_keys.ALGORITHM],
            audience=settings.jwt_audience,
            issuer=settings.jwt_issuer,
            options=REQUIRED_CLAIMS,
        )
        expires_at = datetime.fromtimestamp(claims["exp"], UTC)
        return Claims(
            TokenType(claims["type"]), UUID(claims["sub"]), UUID(claims["sid"]), expires_at
        )
    # RecursionError: a header of a thousand opening brackets.
    except (JOSEError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InvalidToken from error


def jitter_lifetime(seconds: int) -> int:
    """A little less, at random, so that tokens of one moment are not all renewed in one moment."""
    return seconds - secrets.randbelow(seconds // 10 + 1)


def generate_refresh_token() -> str:
    return secrets.token_urlsafe(32)


def is_api_key(token: str) -> bool:
    return token.startswith(API_KEY_PREFIX)


def generate_api_key() -> str:
    return API_KEY_PREFIX + secrets.token_urlsafe(32)


def derive_successors(refresh_token: str) -> list[str]:
    """What a refresh token is exchanged for: always the same, and nobody but us can tell what.

    So a request that lost a race gets the token that the winner got, and none is ever stored. The
    first is given out now; the others were, before the key was changed.
    """
    return [derive_token(key, refresh_token.encode()) for key in REFRESH_TOKEN_KEYS]


def derive_link_token(mail_id: UUID) -> str:
    """What makes the link in a mail secret: derived, so that it need not be kept anywhere."""
    return derive_token(LINK_KEY, mail_id.bytes)


def derive_token(key: bytes, message: bytes) -> str:
    return urlsafe_b64encode(hmac.digest(key, message, "sha256")).decode().rstrip("=")


def compute_digest(secret: str) -> bytes:
    """How a secret made of random bytes is stored. Passwords have a slower way: passwords.py."""
    return hashlib.sha256(secret.encode()).digest()


def seal_secret(secret: str) -> str:
    """How a secret is stored that is needed as it is."""
    return SECRET_CIPHER.encrypt(secret.encode()).decode()


def unseal_secret(stored: str) -> str | None:
    """None for what was sealed with a key that is named no more."""
    try:
        return SECRET_CIPHER.decrypt(stored).decode()
    except fernet.InvalidToken:
        return None
