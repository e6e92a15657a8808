"""No secret is in any log, at any level, whether requests succeed or fail."""

import logging
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from .conftest import Mailboxes, bearer

PASSWORD = "canary sings at dawn"
NEW_PASSWORD = "canary sings at dusk"


def test_no_secret_is_logged(
    client: TestClient,
    mailboxes: Mailboxes,
    sql: Callable[..., list[Any]],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = use_all_secrets(client, mailboxes)

    written = capfd.readouterr()
    logged = written.out + written.err + caplog.text + str(sql("SELECT * FROM audit_events"))

    assert "/auth/login" in logged
    assert [name for name, secret in secrets.items() if secret in logged] == []


def use_all_secrets(client: TestClient, mailboxes: Mailboxes) -> dict[str, str]:
    """Use every kind of secret, rightly and wrongly; return them by name."""
    email = f"{uuid4()}@example.com"
    new = {"email": email, "password": PASSWORD, "name": "Canary"}
    person = client.post("/auth/register", json=new).json()["id"]
    client.post("/auth/register", json={**new, "name": ""})
    client.post("/auth/login", json={"email": email, "password": NEW_PASSWORD})
    tokens = client.post("/auth/login", json={"email": email, "password": PASSWORD}).json()
    headers = bearer(tokens["access_token"])
    app = client.post("/auth/mfa/totp", headers=headers).json()
    keys = f"/api/v1/users/{person}/api-keys"
    key = client.post(keys, headers=headers, json={"name": "K", "scopes": ["ai:use"]}).json()
    newer = client.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]}).json()
    client.post("/auth/refresh", json={"refresh_token": newer["refresh_token"] + "x"})
    client.get("/auth/me", headers=bearer(key["secret"]))
    client.get("/auth/me", headers=bearer(tokens["access_token"] + "x"))
    client.post("/auth/validate", json={"token": newer["access_token"]})
    service = {"client_id": "content-service", "client_secret": "canary-of-a-client-secret"}
    client.post("/auth/token", data={"grant_type": "client_credentials", **service})
    client.post("/auth/forgot-password", json={"email": email})
    link = mailboxes.wait_for_link(person, "new password")
    client.get("/auth/reset-password", params={"token": link})
    client.post("/auth/reset-password", json={"token": link, "new_password": NEW_PASSWORD})
    return {
        "password": PASSWORD,
        "new password": NEW_PASSWORD,
        "access token": tokens["access_token"],
        "refresh token": tokens["refresh_token"],
        "next access token": newer["access_token"],
        "next refresh token": newer["refresh_token"],
        "second factor": app["secret"],
        "API key": key["secret"],
        "client secret": service["client_secret"],
        "link": link,
    }
