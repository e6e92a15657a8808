"""Settings of the identity service; chassis/settings.py has those that every service reads."""

from pathlib import Path

from email_validator import validate_email
from jose import jwk
from jose.exceptions import JOSEError
from pydantic import Field, SecretStr, field_validator, model_validator

from chassis.settings import DEVELOPMENT_SERVICE_SECRET, MIN_SECRET_LENGTH, load_settings
from chassis.settings import Settings as StandardSettings

from .common_passwords import is_common_password

SERVICE_FOLDER = Path(__file__).resolve().parent.parent
DEVELOPMENT_SECRET = SecretStr(DEVELOPMENT_SERVICE_SECRET)
SERVICE_PERMISSIONS = {
    "content-service": ["auth:changes", "notifications:send", "roles:read", "users:read"],
    "communication-service": ["auth:changes", "contacts:read"],
    "workflow-service": ["auth:changes", "auth:delegate", "users:read"],
}
DEVELOPMENT_CLIENTS = dict.fromkeys(SERVICE_PERMISSIONS, DEVELOPMENT_SECRET)
OWN_PERMISSIONS = ["notifications:send"]
DEFAULT_PERMISSIONS = ["auth:changes"]  # of services without an entry in SERVICE_PERMISSIONS
MIN_ADMIN_PASSWORD_LENGTH = 12
KEY_ALGORITHMS = ("HS256", "RS256", "ES256")


def can_sign(secret: str, algorithm: str) -> bool:
    """Returns False for a key of another algorithm, and for the public half of a key pair."""
    try:
        jwk.construct(secret, algorithm).sign(b"anything")
    except (JOSEError, ValueError, TypeError, AttributeError):
        return False
    return True


def normalize_email(text: str) -> str:
    """Writes an address in lower-case ASCII, so that look-alikes cannot pass for it."""
    address = validate_email(text, check_deliverability=False, allow_smtputf8=False)
    return (address.ascii_email or address.normalized).lower()


class Settings(StandardSettings):
    service_name: str = "identity-service"
    service_port: int = Field(default=8001, ge=1, le=65535)
    database_url: str = "postgresql://identity:identity@identity-db:5432/identity_service"
    redis_url: str = "redis://identity-redis:6379/0"

    communication_service_url: str = "http://communication-service:8003"
    # Where users reach this service in their browser: the links in emails begin with it.
    public_url: str = "http://localhost:8001"
    public_name: str = "Microservices"

    # Previous keys still unseal secrets, and verify tokens if they fit JWT_ALGORITHM.
    jwt_previous_secret_keys: list[SecretStr] = Field(default=[])
    jwt_issuer: str = "identity-service"
    jwt_audience: str = "microservices"
    access_token_seconds: int = Field(default=15 * 60, ge=1)
    delegated_token_seconds: int = Field(default=5 * 60, ge=1)
    session_days: int = Field(default=30, ge=1)
    session_idle_days: int = Field(default=14, ge=1)
    sessions_per_user: int = Field(default=20, ge=1)
    step_up_seconds: int = Field(default=10 * 60, ge=1)
    refresh_grace_seconds: float = Field(default=10, ge=0)

    # The lower bounds are OWASP's minimum for argon2id.
    argon2_memory_kib: int = Field(default=19 * 1024, ge=19 * 1024)
    argon2_time_cost: int = Field(default=2, ge=2)
    argon2_parallelism: int = Field(default=1, ge=1)

    # Creates the first administrator at start, if there is none; both or neither.
    first_admin_email: str = ""
    first_admin_password: SecretStr = SecretStr("")
    demo_password: SecretStr = Field(default=SecretStr("demo-password-1"), min_length=8)
    service_clients: dict[str, SecretStr] = Field(default=DEVELOPMENT_CLIENTS)
    service_permissions: dict[str, list[str]] = Field(default=SERVICE_PERMISSIONS)

    def get_client_permissions(self, client_id: str) -> list[str]:
        if client_id == self.service_client_id:
            return OWN_PERMISSIONS
        return self.service_permissions.get(client_id, DEFAULT_PERMISSIONS)

    @property
    def signing_secrets(self) -> list[SecretStr]:
        """Lists the key that signs, then previous ones. PEM is on one line in the environment."""
        secrets = (self.jwt_secret_key, *self.jwt_previous_secret_keys)
        return [SecretStr(secret.get_secret_value().replace("\\n", "\n")) for secret in secrets]

    @model_validator(mode="after")
    def check_signing_keys(self) -> "Settings":
        newest, *previous = (secret.get_secret_value() for secret in self.signing_secrets)
        if not can_sign(newest, self.jwt_algorithm):
            raise ValueError(
                f"JWT_SECRET_KEY must be a key for {self.jwt_algorithm}: a secret for HS256,"
                " a private key in PEM for every other algorithm"
            )
        if not all(any(can_sign(key, name) for name in KEY_ALGORITHMS) for key in previous):
            raise ValueError("JWT_PREVIOUS_SECRET_KEYS must be private keys in PEM, or secrets")
        return self

    @field_validator("first_admin_email")
    @classmethod
    def normalize_first_admin_email(cls, email: str) -> str:
        return normalize_email(email) if email else ""

    @model_validator(mode="after")
    def check_first_admin_password(self) -> "Settings":
        password = self.first_admin_password.get_secret_value()
        if self.first_admin_email and len(password) < MIN_ADMIN_PASSWORD_LENGTH:
            raise ValueError(
                f"FIRST_ADMIN_PASSWORD must have at least {MIN_ADMIN_PASSWORD_LENGTH} characters"
                " when FIRST_ADMIN_EMAIL is set"
            )
        if self.environment != "development" and is_common_password(password):
            raise ValueError("FIRST_ADMIN_PASSWORD is too common; choose a less predictable one")
        return self

    @model_validator(mode="after")
    def check_own_secrets(self) -> "Settings":
        """Rejects short secrets and those of the development setup in other environments."""
        if self.environment == "development":
            return self
        if any(len(secret) < MIN_SECRET_LENGTH for secret in self.jwt_previous_secret_keys):
            raise ValueError(
                f"JWT_PREVIOUS_SECRET_KEYS must have at least {MIN_SECRET_LENGTH} characters each"
            )
        for client_id, secret in self.service_clients.items():
            if secret == DEVELOPMENT_SECRET or len(secret) < MIN_SECRET_LENGTH:
                raise ValueError(
                    f"SERVICE_CLIENTS must give {client_id} a secret of its own, of at least"
                    f" {MIN_SECRET_LENGTH} characters, when ENVIRONMENT is {self.environment}"
                )
        return self


settings = load_settings(Settings)
