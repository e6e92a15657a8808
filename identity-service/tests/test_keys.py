"""Keys: they are changed without logging anybody out, and others may check with public ones."""

import json
from contextlib import AbstractContextManager
from time import time
from typing import Any
from uuid import uuid4

import httpx
import pyotp
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jose import jwt

from chassis.settings import load
from identity_service.settings import Settings

from .conftest import PASSWORD, bearer, running

FIRST, SECOND = "the first of two secrets, long enough", "the second of two secrets, long enough"
ADMIN = {"email": "admin@example.com", "password": "demo-password-1"}


def pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


RSA, OLD_RSA = (pem(rsa.generate_private_key(65537, 2048)) for _ in range(2))
EC = pem(ec.generate_private_key(ec.SECP256R1()))


def identity(
    secret: str, previous: list[str], algorithm: str = "HS256"
) -> AbstractContextManager[httpx.Client]:
    """The service as it is started, with these keys."""
    return running(
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
    """What somebody new logs in with, and the app that they need as well."""
    person = {"email": f"{uuid4()}@example.com", "password": PASSWORD}
    client.post("/auth/register", json={**person, "name": "Somebody"}).raise_for_status()
    headers = bearer(client.post("/auth/login", json=person).json()["access_token"])
    app = pyotp.TOTP(client.post("/auth/mfa/totp", headers=headers).json()["secret"])
    code = {"code": app.now()}
    client.post("/auth/mfa/totp/confirm", headers=headers, json=code).raise_for_status()
    return person, app


def test_a_new_key_logs_nobody_out_as_long_as_the_old_one_is_named() -> None:
    with identity(FIRST, []) as before:
        tokens, raced = log_in(before), log_in(before)
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
        challenge = after.post("/auth/login", json=person).json()["challenge"]
        answer = {"challenge": challenge, "code": app.generate_otp(int(time()) // 30 + 1)}
        assert after.post("/auth/mfa/verify", json=answer).status_code == 200


@pytest.mark.parametrize(
    ("algorithm", "key", "previous", "kind"),
    [("RS256", RSA, [OLD_RSA], "RSA"), ("ES256", EC, [], "EC")],
)
def test_others_check_with_the_published_key_and_cannot_sign(
    algorithm: str, key: str, previous: list[str], kind: str
) -> None:
    with identity(key, previous, algorithm) as client:
        tokens = log_in(client)
        assert status(client, tokens) == 200
        keys = client.get("/.well-known/jwks.json").json()["keys"]
        public = json.dumps(keys[0])
        forged = {"access_token": jwt.encode({"sub": "x"}, public, "HS256")}
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
        {"JWT_ALGORITHM": "RS256", "JWT_SECRET_KEY": RSA, "JWT_PREVIOUS_SECRET_KEYS": '["x"]'},
        {"JWT_PREVIOUS_SECRET_KEYS": "not a list"},
    ],
)
def test_a_key_that_does_not_fit_refuses_to_start(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit, match="JWT_") as refusal:
        load(Settings)

    assert "PRIVATE KEY" not in str(refusal.value)
