"""The keys of tokens: the newest signs, and those of before still check what they have signed."""

import hashlib
import json
from base64 import urlsafe_b64encode
from typing import Any

from jose import jwk
from jose.backends.base import Key

from ..settings import can_sign, settings

ALGORITHM = settings.jwt_algorithm
THUMBPRINT_MEMBERS = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y")}  # RFC 7638


def is_symmetric() -> bool:
    """Whether what checks a token can also sign one, so that nobody else may have it."""
    return ALGORITHM.startswith("HS")


def load_verification_key(secret: str) -> Key:
    key: Key = jwk.construct(secret, ALGORITHM)
    return key if is_symmetric() else key.public_key()


def build_public_jwk(key: Key) -> dict[str, Any]:
    """A public key as others read it."""
    members = key.to_dict()
    named = {name: members[name] for name in THUMBPRINT_MEMBERS[members["kty"]]}
    digest = hashlib.sha256(json.dumps(named, separators=(",", ":")).encode()).digest()
    return {**members, "kid": urlsafe_b64encode(digest).decode().rstrip("="), "use": "sig"}


SIGNING_SECRETS = [secret.get_secret_value() for secret in settings.signing_secrets]
SIGNING_KEY: Key = jwk.construct(SIGNING_SECRETS[0], ALGORITHM)
# A key of before for another algorithm opens what it has sealed (tokens.py), and checks nothing.
VERIFICATION_KEYS = [
    load_verification_key(secret) for secret in SIGNING_SECRETS if can_sign(secret, ALGORITHM)
]
PUBLIC_JWKS = [] if is_symmetric() else [build_public_jwk(key) for key in VERIFICATION_KEYS]
TOKEN_HEADERS = {"kid": PUBLIC_JWKS[0]["kid"]} if PUBLIC_JWKS else None
