"""Outside development the service starts only with secrets of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chassis.settings import load_settings
from identity_service.settings import Settings, settings

FOLDER = Path(__file__).resolve().parent.parent
SECRET = "a secret of our own, of 32 characters or more"
PRODUCTION = {
    "ENVIRONMENT": "production",
    "JWT_SECRET_KEY": SECRET,
    "SERVICE_CLIENT_SECRET": SECRET,
    "SERVICE_CLIENTS": json.dumps({"content-service": SECRET}),
    "DATABASE_URL": settings.database_url,
    "REDIS_URL": settings.redis_url,
}


def test_production_starts_with_secrets_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PRODUCTION.items():
        monkeypatch.setenv(name, value)

    loaded = load_settings(Settings)

    assert loaded.environment == "production"
    assert list(loaded.service_clients) == ["content-service"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("JWT_SECRET_KEY", None),
        ("JWT_SECRET_KEY", "short"),
        ("SERVICE_CLIENTS", None),
        ("SERVICE_CLIENTS", '{"content-service": "short"}'),
        ("SERVICE_CLIENTS", '{"content-service": "development-only-service-secret"}'),
        ("JWT_ALGORITHM", "none"),
        ("ARGON2_MEMORY_KIB", "8"),
        ("ARGON2_TIME_COST", "1"),
        ("SERVICE_CLIENTS", "content-service=secret"),
        ("SERVICE_PERMISSIONS", "{"),
        ("FIRST_ADMIN_EMAIL", "unknown"),
    ],
)
def test_the_service_does_not_start_with_a_weak_setting_and_names_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str | None
) -> None:
    for name, given in (PRODUCTION | {variable: value}).items():
        if given is not None:
            monkeypatch.setenv(name, given)

    with pytest.raises(SystemExit) as refusal:
        load_settings(Settings)

    assert variable in str(refusal.value)


def test_python_main_rejects_the_development_secret_in_production() -> None:
    environment = {**PRODUCTION, "PATH": os.environ["PATH"], "JWT_SECRET_KEY": ""}

    done = subprocess.run(
        [sys.executable, "main.py"], cwd=FOLDER, env=environment, capture_output=True, text=True
    )

    assert done.returncode != 0
    assert "JWT_SECRET_KEY" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_first_administrator_needs_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (PRODUCTION | {"FIRST_ADMIN_EMAIL": "ada@example.com"}).items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit, match="FIRST_ADMIN_PASSWORD"):
        load_settings(Settings)


def test_the_first_administrator_needs_an_uncommon_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    common = {"FIRST_ADMIN_EMAIL": "ada@example.com", "FIRST_ADMIN_PASSWORD": "Password12345!"}
    for name, value in (PRODUCTION | common).items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit, match="FIRST_ADMIN_PASSWORD") as refusal:
        load_settings(Settings)

    assert "Password12345!" not in str(refusal.value)


def test_the_service_waits_for_the_database() -> None:
    nowhere = "postgresql://unknown:nothing@127.0.0.1:1/nothing"
    environment = {**PRODUCTION, "PATH": os.environ["PATH"], "DATABASE_URL": nowhere}
    process = subprocess.Popen(
        [sys.executable, "main.py"],
        cwd=FOLDER,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "waiting for the database" in line:
                break
        process.kill()

    assert "waiting for the database" in lines[-1]
    assert "Traceback" not in "".join(lines)
