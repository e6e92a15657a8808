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


def pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


RSA, OLD_RSA = (pem(rsa.generate_private_key(65537, 2048)) for _ in range(2))
EC = pem(ec.generate_private_key(ec.SECP256R1()))


def half(key: str) -> str:
    """Return the public half of a key pair."""
    public = load_pem_private_key(key.encode(), None).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def signed_in_hmac(token: str, secret: str) -> str:
    """Sign the same claims with the text as an HMAC secret, which jose refuses to do."""
    header = urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
    signed = f"{header}.{token.split('.')[1]}"
    mark = urlsafe_b64encode(hmac.digest(secret.encode(), signed.encode(), "sha256"))
    return f"{signed}.{mark.decode().rstrip('=')}"


def identity(
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


def status(client: httpx.Client, tokens: dict[str, str]) -> int:
    return client.post("/auth/validate", json={"token": tokens["access_token"]}).status_code


def with_second_factor(client: httpx.Client) -> tuple[dict[str, str], pyotp.TOTP]:
    """Register a user with a second factor; return their credentials and their app."""
    person = {"email": f"{uuid4()}@example.com", "password": PASSWORD}
    client.post("/auth/register", json={**person, "name": "Ada Lovelace"}).raise_for_status()
    headers = bearer(client.post("/auth/login", json=person).json()["access_token"])
    app = pyotp.TOTP(client.post("/auth/mfa/totp", headers=headers).json()["secret"])
    code = {"code": app.now()}
    client.post("/auth/mfa/totp/confirm", headers=headers, json=code).raise_for_status()
    return person, app


def second_login(client: httpx.Client, person: dict[str, str], app: pyotp.TOTP) -> int:
    challenge = client.post("/auth/login", json=person).json()["challenge"]
    answer = {"challenge": challenge, "code": app.generate_otp(int(time()) // 30 + 1)}
    return client.post("/auth/mfa/verify", json=answer).status_code


def test_a_new_key_logs_no_one_out_while_the_old_one_is_listed() -> None:
    with identity(FIRST, []) as before:
        tokens = log_in(before)
        raced = log_in(before)
        winner = refresh(before, raced).json()
        person, app = with_second_factor(before)
    with identity(SECOND, [FIRST]) as during:
        assert status(during, tokens) == 200
        assert refresh(during, raced).json()["refresh_token"] == winner["refresh_token"]
        newer = refresh(during, tokens).json()
        assert status(during, newer) == 200
    with identity(SECOND, []) as after:
        assert (status(after, tokens), status(after, newer)) == (401, 200)
        assert refresh(after, newer).status_code == 200
        assert second_login(after, person, app) == 200


def test_a_token_forged_with_the_secret_is_accepted() -> None:
    """Shows that the forgeries below are rejected for the right reason."""
    with identity(FIRST, []) as client:
        forged = {"access_token": signed_in_hmac(log_in(client)["access_token"], FIRST)}
        assert status(client, forged) == 200


@pytest.mark.parametrize(
    ("algorithm", "key", "old_algorithm", "old_key"),
    [("RS256", RSA, "HS256", FIRST), ("ES256", EC, "RS256", RSA), ("HS256", FIRST, "ES256", EC)],
)
def test_a_key_for_another_algorithm_unseals_secrets_but_verifies_no_token(
    algorithm: str, key: str, old_algorithm: str, old_key: str
) -> None:
    with identity(old_key, [], old_algorithm) as before:
        tokens = log_in(before)
        person, app = with_second_factor(before)
    with identity(key, [old_key], algorithm) as during:
        assert status(during, tokens) == 401
        newer = refresh(during, tokens).json()
        assert status(during, newer) == 200
        for secret in (old_key, half(old_key) if "PRIVATE" in old_key else old_key):
            forged = {"access_token": signed_in_hmac(newer["access_token"], secret)}
            assert status(during, forged) == 401
        assert len(during.get("/.well-known/jwks.json").json()["keys"]) == (key != FIRST)
    with identity(key, [], algorithm) as after:
        assert second_login(after, person, app) == 200


@pytest.mark.parametrize(
    ("algorithm", "key", "previous", "kind"),
    [("RS256", RSA, [OLD_RSA], "RSA"), ("ES256", EC, [], "EC")],
)
def test_others_can_verify_with_the_public_key_but_not_sign(
    algorithm: str, key: str, previous: list[str], kind: str
) -> None:
    with identity(key, previous, algorithm) as client:
        tokens = log_in(client)
        assert status(client, tokens) == 200
        keys = client.get("/.well-known/jwks.json").json()["keys"]
        for text in (json.dumps(keys[0]), json.dumps(keys[0], separators=(",", ":")), half(key)):
            forged = {"access_token": signed_in_hmac(tokens["access_token"], text)}
            assert status(client, forged) == 401

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
        {"JWT_PREVIOUS_SECRET_KEYS": json.dumps([half(RSA)])},
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
