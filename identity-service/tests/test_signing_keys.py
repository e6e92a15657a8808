"""Signing keys: changing them logs no one out, and others can verify with public keys."""

import hmac
import json
from base64 import urlsafe_b64encode
from contextlib import AbstractContextManager
from time import time
from typing import Any
from uuid import uuid4

import httpx
import pyotp
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from jose import jwt

from chassis.settings import load_settings
from identity_service.settings import Settings

from .conftest import PASSWORD, bearer, run_service

FIRST = "the first of two secrets, long enough"
SECOND = "the second of two secrets, long enough"
ADMIN = {"email": "admin@example.com", "password": "demo-password-1"}


def to_pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


RSA, OLD_RSA = (to_pem(rsa.generate_private_key(65537, 2048)) for _ in range(2))
EC = to_pem(ec.generate_private_key(ec.SECP256R1()))


def get_public_half(key: str) -> str:
    """Return the public half of a key pair."""
    public = load_pem_private_key(key.encode(), None).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def sign_with_hmac(token: str, secret: str) -> str:
    """Sign the same claims with the text as an HMAC secret, which jose refuses to do."""
    header = urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
    signed = f"{header}.{token.split('.')[1]}"
    mark = urlsafe_b64encode(hmac.digest(secret.encode(), signed.encode(), "sha256"))
    return f"{signed}.{mark.decode().rstrip('=')}"


def run_identity(
    secret: str, previous: list[str], algorithm: str = "HS256"
) -> AbstractContextManager[httpx.Client]:
    """Run the service with these keys."""
    return run_service(
        JWT_ALGORITHM=algorithm,
        JWT_SECRET_KEY=secret.replace("\n", "\\n"),
        JWT_PREVIOUS_SECRET_KEYS=json.dumps(previous),
        REFRESH_GRACE_SECONDS="600",  # longer than a restart on a busy machine
    )


def log_in(client: httpx.Client) -> dict[str, str]:
    found: dict[str, str] = client.post("/auth/login", json=ADMIN).raise_for_status().json()
    return found


def refresh(client: httpx.Client, tokens: dict[str, str]) -> httpx.Response:
    return client.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]})


def get_status(client: httpx.Client, tokens: dict[str, str]) -> int:
    return client.post("/auth/validate", json={"token": tokens["access_token"]}).status_code


def register_with_second_factor(client: httpx.Client) -> tuple[dict[str, str], pyotp.TOTP]:
    """Register a user with a second factor; return their credentials and their app."""
    person = {"email": f"{uuid4()}@example.com", "password": PASSWORD}
    client.post("/auth/register", json={**person, "name": "Ada Lovelace"}).raise_for_status()
    headers = bearer(client.post("/auth/login", json=person).json()["access_token"])
    app = pyotp.TOTP(client.post("/auth/mfa/totp", headers=headers).json()["secret"])
    code = {"code": app.now()}
    client.post("/auth/mfa/totp/confirm", headers=headers, json=code).raise_for_status()
    return person, app


def log_in_with_code(client: httpx.Client, person: dict[str, str], app: pyotp.TOTP) -> int:
    challenge = client.post("/auth/login", json=person).json()["challenge"]
    answer = {"challenge": challenge, "code": app.generate_otp(int(time()) // 30 + 1)}
    return client.post("/auth/mfa/verify", json=answer).status_code


def test_a_new_key_logs_no_one_out_while_the_old_one_is_listed() -> None:
    with run_identity(FIRST, []) as before:
        tokens = log_in(before)
        raced = log_in(before)
        winner = refresh(before, raced).json()
        person, app = register_with_second_factor(before)
    with run_identity(SECOND, [FIRST]) as during:
        assert get_status(during, tokens) == 200
        assert refresh(during, raced).json()["refresh_token"] == winner["refresh_token"]
        newer = refresh(during, tokens).json()
        assert get_status(during, newer) == 200
    with run_identity(SECOND, []) as after:
        assert (get_status(after, tokens), get_status(after, newer)) == (401, 200)
        assert refresh(after, newer).status_code == 200
        assert log_in_with_code(after, person, app) == 200


def test_a_token_forged_with_the_secret_is_accepted() -> None:
    """Shows that the forgeries below are rejected for the right reason."""
    with run_identity(FIRST, []) as client:
        forged = {"access_token": sign_with_hmac(log_in(client)["access_token"], FIRST)}
        assert get_status(client, forged) == 200


@pytest.mark.parametrize(
    ("algorithm", "key", "old_algorithm", "old_key"),
    [("RS256", RSA, "HS256", FIRST), ("ES256", EC, "RS256", RSA), ("HS256", FIRST, "ES256", EC)],
)
def test_a_key_for_another_algorithm_unseals_secrets_but_verifies_no_token(
    algorithm: str, key: str, old_algorithm: str, old_key: str
) -> None:
    with run_identity(old_key, [], old_algorithm) as before:
        tokens = log_in(before)
        person, app = register_with_second_factor(before)
    with run_identity(key, [old_key], algorithm) as during:
        assert get_status(during, tokens) == 401
        newer = refresh(during, tokens).json()
        assert get_status(during, newer) == 200
        for secret in (old_key, get_public_half(old_key) if "PRIVATE" in old_key else old_key):
            forged = {"access_token": sign_with_hmac(newer["access_token"], secret)}
            assert get_status(during, forged) == 401
        assert len(during.get("/.well-known/jwks.json").json()["keys"]) == (key != FIRST)
    with run_identity(key, [], algorithm) as after:
        assert log_in_with_code(after, person, app) == 200


@pytest.mark.parametrize(
    ("algorithm", "key", "previous", "kind"),
    [("RS256", RSA, [OLD_RSA], "RSA"), ("ES256", EC, [], "EC")],
)
def test_others_can_verify_with_the_public_key_but_not_sign(
    algorithm: str, key: str, previous: list[str], kind: str
) -> None:
    with run_identity(key, previous, algorithm) as client:
        tokens = log_in(client)
        assert get_status(client, tokens) == 200
        keys = client.get("/.well-known/jwks.json").json()["keys"]
        for text in (
            json.dumps(keys[0]),
            json.dumps(keys[0], separators=(",", ":")),
            get_public_half(key),
        ):
            forged = {"access_token": sign_with_hmac(tokens["access_token"], text)}
            assert get_status(client, forged) == 401

    assert len(keys) == 1 + len(previous)
    assert all(found["kty"] == kind and not found.keys() & {"d", "p", "q"} for found in keys)
    assert jwt.get_unverified_header(tokens["access_token"])["kid"] == keys[0]["kid"]
    claims = jwt.decode(tokens["access_token"], keys[0], [algorithm], audience="microservices")
    assert claims["iss"] == "identity-service"


def test_a_secret_is_not_published(client: Any) -> None:
    assert client.get("/.well-known/jwks.json").json() == {"keys": []}


@pytest.mark.parametrize(
    "given",
    [
        {"JWT_ALGORITHM": "RS256"},
        {"JWT_ALGORITHM": "RS256", "JWT_SECRET_KEY": EC},
        {"JWT_ALGORITHM": "ES256", "JWT_SECRET_KEY": RSA},
        {"JWT_ALGORITHM": "HS256", "JWT_SECRET_KEY": RSA},
        {"JWT_PREVIOUS_SECRET_KEYS": json.dumps([get_public_half(RSA)])},
        {"JWT_PREVIOUS_SECRET_KEYS": json.dumps(["-----BEGIN PRIVATE KEY-----"])},
        {"JWT_PREVIOUS_SECRET_KEYS": "not a list"},
    ],
)
def test_the_service_does_not_start_with_a_key_of_the_wrong_kind(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit, match="JWT_") as refusal:
        load_settings(Settings)

    assert "PRIVATE KEY" not in str(refusal.value)
