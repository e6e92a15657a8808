"""Settings that every service reads from its environment (specification: "Required Variables")."""

import json
import re
import sys
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

DEVELOPMENT_JWT_SECRET = "development-only-jwt-secret-key-0123456789"
DEVELOPMENT_SERVICE_SECRET = "development-only-service-secret"
MIN_SECRET_LENGTH = 32  # characters; RFC 7518 requires as many bytes for HS256

# Options of libpq, with which a lost network or machine is noticed in about ten seconds; TCP's own
# limit is a quarter of an hour.
LIBPQ_OPTIONS = {
    "connect_timeout": 3,  # seconds
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
}

AnySettings = TypeVar("AnySettings", bound="Settings")


def parse_list(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    if text.lstrip().startswith("["):
        return json.loads(text)
    return [part.strip() for part in text.split(",") if part.strip()]


StringList = Annotated[list[str], NoDecode, BeforeValidator(parse_list)]
"""A JSON list, or values with commas between them."""


class Settings(BaseSettings):
    """Holds the variables of every service; a service adds its defaults and its own variables."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", hide_input_in_errors=True)

    service_name: str
    service_version: str = "1.0.0"
    service_host: str = "0.0.0.0"
    service_port: int = Field(ge=1, le=65535)
    environment: Literal["development", "staging", "production"] = "development"
    debug: bool = False
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(str.upper)
    ] = "INFO"

    database_url: str
    database_pool_size: int = Field(default=10, ge=1)
    database_max_overflow: int = Field(default=20, ge=0)
    redis_url: str
    redis_max_connections: int = Field(default=10, ge=1)

    identity_service_url: str = "http://identity-service:8001"
    service_client_id: str = Field(default_factory=lambda given: given.get("service_name", ""))
    service_client_secret: SecretStr = SecretStr(DEVELOPMENT_SERVICE_SECRET)
    auth_max_staleness_seconds: float = Field(default=5.0, gt=0)
    jwt_secret_key: SecretStr = SecretStr(DEVELOPMENT_JWT_SECRET)
    jwt_algorithm: Literal["HS256", "HS384", "HS512", "RS256", "ES256"] = "HS256"

    cors_allow_origins: StringList = [
        "http://localhost:3000",
        "http://localhost:5173",
    ]
    max_body_bytes: int = Field(default=1024 * 1024, ge=1)

    @property
    def short_name(self) -> str:
        """Return `content` for content-service: the first part of its Redis keys."""
        return self.service_name.removesuffix("-service")

    @property
    def database_connections(self) -> int:
        return self.database_pool_size + self.database_max_overflow

    @property
    def max_concurrent_sessions(self) -> int:
        """Return how many requests may have a session; others wait without using a thread.

        A request with a connection may have to wait for a thread. If such requests held all
        connections while all threads waited for a connection, nothing would ever proceed.
        """
        return max(1, self.database_connections - 1)

    def get_driver_url(self, driver: str) -> str:
        """Return the database URL with this driver, whatever driver DATABASE_URL names."""
        url = make_url(self.database_url).set(drivername=f"postgresql+{driver}")
        return url.render_as_string(hide_password=False)

    @field_validator("cors_allow_origins")
    @classmethod
    def refuse_wildcard_origin(cls, origins: list[str]) -> list[str]:
        if "*" in origins:
            raise ValueError("list each origin: '*' lets every site act with a user's login")
        return origins

    @field_validator("database_url")
    @classmethod
    def check_database_url(cls, url: str) -> str:
        try:
            backend = make_url(url).get_backend_name()
        except (ArgumentError, ValueError) as error:
            raise ValueError("is not a URL like postgresql://user:password@host:5432/db") from error
        if backend not in ("postgresql", "postgres"):
            raise ValueError("must be a PostgreSQL URL")
        return url

    @model_validator(mode="after")
    def check_secrets(self) -> "Settings":
        is_development = self.environment == "development"
        for name in ("jwt_secret_key", "service_client_secret"):
            secret = getattr(self, name).get_secret_value()
            is_weak = secret.startswith("development-only") or len(secret) < MIN_SECRET_LENGTH
            if not secret or (is_weak and not is_development):
                raise ValueError(
                    f"{name.upper()} must be a secret of your own with at least"
                    f" {MIN_SECRET_LENGTH} characters; in development it must not be empty"
                )
        return self


def load_settings(kind: type[AnySettings]) -> AnySettings:
    """Read the settings; end the process with one line for each wrong variable."""
    try:
        return kind()
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(part) for part in e['loc']).upper()}: {e['msg']}".removeprefix(": ")
            for e in error.errors()
        ]
        sys.exit("Wrong settings. " + "\n".join(problems))
    except SettingsError as error:  # invalid JSON for a list or an object
        [name] = re.findall(r'field "(\w+)"', str(error)) or ["a variable"]
        sys.exit(f"Wrong settings. {name.upper()}: is not valid JSON")
