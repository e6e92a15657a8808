"""Keys: they are changed without logging anybody out, and others may check with public ones."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jose import jwt

from chassis.settings import load
from identity_service.settings import Settings, settings

FOLDER = Path(__file__).resolve().parent.parent
FIRST, SECOND = "the first of two secrets, long enough", "the second of two secrets, long enough"
ADMIN = {"email": "admin@example.com", "password": "demo-password-1"}


def pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


RSA, OLD_RSA = (pem(rsa.generate_private_key(65537, 2048)) for _ in range(2))
EC = pem(ec.generate_private_key(ec.SECP256R1()))


@contextmanager
def identity(secret: str, previous: list[str], algorithm: str = "HS256") -> Iterator[httpx.Client]:
    """The service as it is started, with these keys."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "SERVICE_PORT": str(port),
        "JWT_ALGORITHM": algorithm,
        "JWT_SECRET_KEY": secret.replace("\n", "\\n"),
        "JWT_PREVIOUS_SECRET_KEYS": json.dumps(previous),
        "REFRESH_GRACE_SECONDS": "600",  # longer than a restart on a busy machine
    }
    command = [sys.executable, "main.py"]
    process = subprocess.Popen(command, cwd=FOLDER, env=environment, stdout=subprocess.DEVNULL)
    with process, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        try:
            wait_for(client, process)
            yield client
        finally:
            process.kill()


def wait_for(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert process.poll() is None
        try:
            if client.get("/health/ready").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail("it is not ready")


def log_in(client: httpx.Client) -> dict[str, str]:
    found: dict[str, str] = client.post("/auth/login", json=ADMIN).raise_for_status().json()
    return found


def refresh(client: httpx.Client, tokens: dict[str, str]) -> httpx.Response:
    return client.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]})


def status(client: httpx.Client, tokens: dict[str, str]) -> int:
    return client.post("/auth/validate", json={"token": tokens["access_token"]}).status_code


def test_a_new_key_logs_nobody_out_as_long_as_the_old_one_is_named() -> None:
    with identity(FIRST, []) as before:
        tokens, raced = log_in(before), log_in(before)
        winner = refresh(before, raced).json()
    with identity(SECOND, [FIRST]) as during:
        assert status(during, tokens) == 200
        assert refresh(during, raced).json()["refresh_token"] == winner["refresh_token"]
        newer = refresh(during, tokens).json()
        assert status(during, newer) == 200
    with identity(SECOND, []) as after:
        assert (status(after, tokens), status(after, newer)) == (401, 200)
        assert refresh(after, newer).status_code == 200


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
