"""Settings that a service reads from its environment, and the messages for wrong ones."""

from typing import Any

import pytest
from pydantic import ValidationError

from chassis.settings import load_settings

from .toy import ToySettings, toy_settings

GOOD_SECRET = "a-secret-of-our-own-0123456789-abcdef"
OWN_SECRETS = {"jwt_secret_key": GOOD_SECRET, "service_client_secret": GOOD_SECRET}


@pytest.mark.parametrize(
    "scheme",
    ["postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg2", "postgresql+psycopg"],
)
@pytest.mark.parametrize("driver", ["psycopg2", "asyncpg"])
def test_the_driver_url_names_the_driver_for_every_scheme(scheme: str, driver: str) -> None:
    settings = toy_settings(database_url=f"{scheme}://me:p%40ss@db:5432/mine?application_name=x")

    url = settings.get_driver_url(driver)

    assert url == f"postgresql+{driver}://me:p%40ss@db:5432/mine?application_name=x"


@pytest.mark.parametrize("url", ["", "db:5432", "mysql://me@db/mine", "postgresql//db"])
def test_another_database_url_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="database_url"):
        toy_settings(database_url=url)


@pytest.mark.parametrize(
    "given",
    ["https://a.example, https://b.example", '["https://a.example", "https://b.example"]'],
)
def test_cors_origins_are_a_comma_list_or_json(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ALLOW_ORIGINS", given)

    assert toy_settings().cors_allow_origins == ["https://a.example", "https://b.example"]


@pytest.mark.parametrize("given", ["*", "https://a.example,*", '["*"]', "[", "[1]"])
def test_invalid_cors_origins_are_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ALLOW_ORIGINS", given)

    with pytest.raises(ValidationError, match="cors_allow_origins"):
        toy_settings()


@pytest.mark.parametrize(
    ("given", "expected"),
    [("true", True), ("True", True), ("1", True), ("yes", True), ("false", False), ("0", False)],
)
def test_debug_is_a_boolean_in_any_spelling(
    given: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEBUG", given)

    assert toy_settings().debug is expected


@pytest.mark.parametrize("level", ["debug", "warning", "Critical"])
def test_log_level_may_be_lower_case(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", level)

    assert toy_settings().log_level == level.upper()


def test_a_variable_overrides_the_default_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_PORT", "9000")
    monkeypatch.setenv("SERVICE_NAME", "other-service")

    settings = toy_settings()

    assert (settings.service_port, settings.service_name) == (9000, "other-service")
    assert settings.short_name == "other"


def test_service_client_id_is_the_service_name_unless_given() -> None:
    assert toy_settings().service_client_id == "toy-service"
    assert toy_settings(service_name="fork-service").service_client_id == "fork-service"
    assert toy_settings(service_client_id="toy-blue").service_client_id == "toy-blue"


def test_service_client_id_follows_the_name_in_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SERVICE_NAME", "fork-service")

    assert toy_settings().service_client_id == "fork-service"


@pytest.mark.parametrize("environment", ["staging", "production"])
@pytest.mark.parametrize(
    ("changes", "culprit"),
    [
        ({"service_client_secret": GOOD_SECRET}, "JWT_SECRET_KEY"),
        ({"jwt_secret_key": GOOD_SECRET}, "SERVICE_CLIENT_SECRET"),
        ({**OWN_SECRETS, "jwt_secret_key": "short"}, "JWT_SECRET_KEY"),
        ({**OWN_SECRETS, "jwt_secret_key": ""}, "JWT_SECRET_KEY"),
    ],
)
def test_default_and_short_secrets_are_refused_outside_development(
    environment: str, changes: dict[str, str], culprit: str
) -> None:
    with pytest.raises(ValidationError, match=culprit):
        toy_settings(environment=environment, **changes)


@pytest.mark.parametrize("name", ["jwt_secret_key", "service_client_secret"])
def test_an_empty_secret_is_refused_in_development_too(name: str) -> None:
    with pytest.raises(ValidationError, match=name.upper()):
        toy_settings(**{name: ""})


def test_own_secrets_are_accepted_in_production() -> None:
    assert toy_settings(environment="production", **OWN_SECRETS).environment == "production"


def test_load_ends_the_process_with_a_line_for_each_wrong_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SERVICE_PORT", "800X")
    monkeypatch.setenv("LOG_LEVEL", "loud")

    with pytest.raises(SystemExit) as exit:
        load_settings(ToySettings)

    lines = str(exit.value).splitlines()
    assert "SERVICE_PORT: " in lines[0]
    assert lines[1].startswith("LOG_LEVEL: ")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", "mysql://me:canary@db/mine"),
        ("DATABASE_URL", "postgresql://me:can:canary@db:canary/mine"),
        ("DATABASE_URL", "canary"),
        ("JWT_SECRET_KEY", "canary"),
        ("CORS_ALLOW_ORIGINS", "[canary"),
    ],
)
def test_no_message_repeats_a_secret(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv(variable, value)

    with pytest.raises(SystemExit) as exit:
        load_settings(ToySettings)

    assert variable in str(exit.value)
    assert "canary" not in str(exit.value)


def test_printing_settings_hides_the_secrets() -> None:
    settings: Any = toy_settings(**OWN_SECRETS)

    assert GOOD_SECRET not in repr(settings)
