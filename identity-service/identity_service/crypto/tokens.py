"""Makes and checks tokens, and protects the secrets that are stored.

Access tokens are signed (JWT). Refresh tokens, API keys and link tokens are random or derived
strings of which the database stores only a digest. Secrets that are needed in the clear later are
sealed, that is encrypted with a key derived from the signing secret.
"""

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

from chassis.clock import now
from chassis.errors import Unauthenticated

from ..settings import settings
from .signing_keys import ALGORITHM, SIGNING_KEY, SIGNING_SECRETS, TOKEN_HEADERS, VERIFICATION_KEYS

REQUIRED_CLAIMS = {f"require_{claim}": True for claim in ("iss", "aud", "sub", "jti", "iat", "exp")}
API_KEY_PREFIX = "key_"  # tells API keys from other tokens, for secret scanners too
SHOWN_API_KEY_LENGTH = 12  # characters that stay visible, so that owners recognise a key
MAX_TOKEN_LENGTH = 4096  # characters; our own tokens have about 500


def derive_keys(purpose: bytes) -> list[bytes]:
    """Derives one key per signing secret, newest first; each purpose has keys of its own."""
    return [hmac.digest(secret.encode(), purpose, "sha256") for secret in SIGNING_SECRETS]


REFRESH_TOKEN_KEYS = derive_keys(b"successors of refresh tokens")
LINK_KEY = derive_keys(b"one-time links")[0]
CIPHER = MultiFernet([Fernet(urlsafe_b64encode(key)) for key in derive_keys(b"second factors")])


class InvalidToken(Unauthenticated):
    """Raised for a malformed, expired or revoked token, without saying which."""

    def __init__(self) -> None:
        super().__init__("Invalid or expired token")


class TokenType(StrEnum):
    """Names whose rights a token carries (claim `type`), and so what its `sid` refers to."""

    ACCESS = "access"  # a user's rights, while the session `sid` exists
    SERVICE = "service"  # a service's own rights; `sid` is the service's id
    DELEGATED = "delegated"  # a user's rights, for the service `sid` to act with


@dataclass(frozen=True, slots=True)
class Claims:
    """Holds what a token says whose signature is ours."""

    token_type: TokenType
    subject: UUID
    session_id: UUID
    expires_at: datetime


def sign_token(token_type: TokenType, subject: UUID, sid: UUID, seconds: int, **more: Any) -> str:
    """Issues a signed token that expires after `seconds`; `more` are further claims."""
    issued_at = int(now().timestamp())
    claims = {
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "sub": str(subject),
        "sid": str(sid),
        "jti": uuid4().hex,
        "iat": issued_at,
        "exp": issued_at + seconds,
        "type": token_type,
    }
    return jwt.encode(claims | more, SIGNING_KEY, ALGORITHM, TOKEN_HEADERS)


def decode_token(token: str) -> Claims:
    """Raises InvalidToken unless the token is ours and unexpired."""
    claims = verify_signature(token)
    if claims.expires_at <= now():
        raise InvalidToken
    return claims


@lru_cache(maxsize=2_000)  # only valid tokens are cached: an exception is not a result
def verify_signature(token: str) -> Claims:
    """Caches its results, because verifying a signature costs as much as a database query."""
    if len(token) > MAX_TOKEN_LENGTH:
        raise InvalidToken
    try:
        claims = jwt.decode(
            token,
            VERIFICATION_KEYS,  # type: ignore[arg-type]  # any of them
            algorithms=[ALGORITHM],
            audience=settings.jwt_audience,
            issuer=settings.jwt_issuer,
            options=REQUIRED_CLAIMS,
        )
        expires_at = datetime.fromtimestamp(claims["exp"], UTC)
        token_type = TokenType(claims["type"])
        return Claims(token_type, UUID(claims["sub"]), UUID(claims["sid"]), expires_at)
    # RecursionError: a header of a thousand opening brackets.
    except (JOSEError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InvalidToken from error


def jitter_lifetime(seconds: int) -> int:
    """Shortens a lifetime by up to a tenth, so that tokens issued together expire apart."""
    return seconds - secrets.randbelow(seconds // 10 + 1)


def is_api_key(token: str) -> bool:
    return token.startswith(API_KEY_PREFIX)


def generate_api_key() -> str:
    return API_KEY_PREFIX + secrets.token_urlsafe(32)


def derive_successors(refresh_token: str) -> list[str]:
    """Derives the tokens that a refresh token can be exchanged for, one per key, newest first.

    They are the same every time, so a request that loses a race gets what the winner got. Only the
    first is issued now; the others were issued before the signing key was changed.
    """
    return [derive_token(key, refresh_token.encode()) for key in REFRESH_TOKEN_KEYS]


def derive_link_token(mail_id: UUID) -> str:
    """Derives the secret part of an emailed link, so that it is not stored anywhere."""
    return derive_token(LINK_KEY, mail_id.bytes)


def derive_token(key: bytes, message: bytes) -> str:
    return urlsafe_b64encode(hmac.digest(key, message, "sha256")).decode().rstrip("=")


def compute_digest(secret: str) -> bytes:
    """Hashes a random secret for storage. Passwords need a slow hash instead: passwords.py."""
    return hashlib.sha256(secret.encode()).digest()


def seal_secret(secret: str) -> str:
    """Encrypts a secret for storage that is needed in the clear later."""
    return CIPHER.encrypt(secret.encode()).decode()


def unseal_secret(stored: str) -> str | None:
    """Returns None if the key that sealed it is no longer in the settings."""
    try:
        return CIPHER.decrypt(stored).decode()
    except fernet.InvalidToken:
        return None
