"""Mail servers that require encryption and a login."""

import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from .conftest import Caller, MailServer, running_mail_server

Deliver = Callable[..., None]

LOGIN: dict[str, Any] = {"smtp_username": "mailer", "smtp_password": SecretStr("correct")}


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes a self-signed certificate for 127.0.0.1 and its key to a file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def mail_server(certificate: Path) -> Iterator[MailServer]:
    """Runs a server that requires STARTTLS and a login."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def authenticator(*arguments: Any) -> AuthResult:
        is_right = arguments[-1] == LoginPassword(b"mailer", b"correct")
        return AuthResult(success=is_right, handled=False)

    with running_mail_server(
        tls_context=context, require_starttls=True, auth_required=True, authenticator=authenticator
    ) as server:
        yield server


def test_mail_goes_out_encrypted_and_logged_in(
    sender: Caller,
    recipient: Caller,
    deliver: Deliver,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    accepted = sender.notify(recipient, channels=["email"])

    deliver(smtp_security="starttls", **LOGIN)

    assert sender.status(accepted) == "delivered"


@pytest.mark.parametrize(
    ("settings", "is_trusted", "expected"),
    [
        ({"smtp_security": "starttls", **LOGIN}, False, "certificate verify failed"),
        ({"smtp_security": "starttls", **LOGIN, "smtp_password": SecretStr("wrong")}, True, "535"),
        ({"smtp_security": "starttls"}, True, "530"),
        ({"smtp_security": "none"}, True, "530"),
    ],
)
def test_a_server_that_cannot_be_trusted_or_entered_gets_no_mail_and_nothing_is_dead(
    settings: dict[str, Any],
    is_trusted: bool,
    expected: str,
    sender: Caller,
    recipient: Caller,
    deliver: Deliver,
    mail_server: MailServer,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    accepted = sender.notify(recipient, channels=["email"])

    deliver(delivery_first_delay_seconds=100, **settings)

    assert sender.status(accepted) == "pending"
    assert expected in sender.attempts(accepted)[0]["error"]
    assert mail_server.received == []


def test_mail_goes_out_over_a_port_that_is_encrypted_from_the_start(
    sender: Caller,
    recipient: Caller,
    deliver: Deliver,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    accepted = sender.notify(recipient, channels=["email"])

    with running_mail_server(ssl_context=context) as server:
        deliver(smtp_security="tls", smtp_port=server.controller.port)

    assert sender.status(accepted) == "delivered"
    assert len(server.mails_to(recipient)) == 1
