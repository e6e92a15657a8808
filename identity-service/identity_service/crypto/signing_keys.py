"""The keys of tokens: the newest signs, and those of before still check what they have signed."""

import hashlib
import json
from base64 import urlsafe_b64encode
from typing import Any

from jose import jwk
from jose.backends.base import Key

from ..settings import settings, signs

ALGORITHM = settings.jwt_algorithm
IDENTIFYING = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y")}  # RFC 7638


def is_shared() -> bool:
    """Whether what checks a token can also sign one, so that nobody else may have it."""
    return ALGORITHM.startswith("HS")


def checking(secret: str) -> Key:
    key: Key = jwk.construct(secret, ALGORITHM)
    return key if is_shared() else key.public_key()


def published(key: Key) -> dict[str, Any]:
    """A public key as others read it."""
    members = key.to_dict()
    named = {name: members[name] for name in IDENTIFYING[members["kty"]]}
    digest = hashlib.sha256(json.dumps(named, separators=(",", ":")).encode()).digest()
    return {**members, "kid": urlsafe_b64encode(digest).decode().rstrip("="), "use": "sig"}


SECRETS = [secret.get_secret_value() for secret in settings.signing_secrets]
SIGNING: Key = jwk.construct(SECRETS[0], ALGORITHM)
# A key of before for another algorithm opens what it has sealed (tokens.py), and checks nothing.
CHECKING = [checking(secret) for secret in SECRETS if signs(secret, ALGORITHM)]
PUBLISHED = [] if is_shared() else [published(key) for key in CHECKING]
HEADERS = {"kid": PUBLISHED[0]["kid"]} if PUBLISHED else None
