"""The keys of access tokens: the newest one signs, and previous ones still verify."""

import hashlib
import json
from base64 import urlsafe_b64encode
from typing import Any

from jose import jwk
from jose.backends.base import Key

from ..settings import can_sign, settings

ALGORITHM = settings.jwt_algorithm
IS_SYMMETRIC = ALGORITHM.startswith("HS")  # the key that verifies can sign, so it stays secret
THUMBPRINT_MEMBERS = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y")}  # RFC 7638


def load_verification_key(secret: str) -> Key:
    key: Key = jwk.construct(secret, ALGORITHM)
    return key if IS_SYMMETRIC else key.public_key()


def build_public_jwk(key: Key) -> dict[str, Any]:
    """Describes a public key as a JSON Web Key; its id is the thumbprint of RFC 7638."""
    members = key.to_dict()
    identifying = {name: members[name] for name in THUMBPRINT_MEMBERS[members["kty"]]}
    thumbprint = hashlib.sha256(json.dumps(identifying, separators=(",", ":")).encode()).digest()
    key_id = urlsafe_b64encode(thumbprint).decode().rstrip("=")
    return {**members, "kid": key_id, "use": "sig"}


SIGNING_SECRETS = [secret.get_secret_value() for secret in settings.signing_secrets]
SIGNING_KEY: Key = jwk.construct(SIGNING_SECRETS[0], ALGORITHM)
# A previous key for another algorithm verifies no tokens; tokens.py only unseals secrets with it.
VERIFICATION_KEYS = [
    load_verification_key(secret) for secret in SIGNING_SECRETS if can_sign(secret, ALGORITHM)
]
PUBLIC_JWKS = [] if IS_SYMMETRIC else [build_public_jwk(key) for key in VERIFICATION_KEYS]
TOKEN_HEADERS = {"kid": PUBLIC_JWKS[0]["kid"]} if PUBLIC_JWKS else None
