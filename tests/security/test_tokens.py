"""Tests that every service accepts only unexpired bearer tokens of identity."""

import base64
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jose import jwt

from chassis.settings import DEVELOPMENT_JWT_SECRET

from ..users import (
    PASSWORD,
    PROTECTED_PATHS,
    Person,
    Stack,
    get_json,
    log_in,
    register,
    send_request,
)

Forge = Callable[[str], str]  # from a good token to one that must be refused

NOW = int(datetime.now(UTC).timestamp())
UNKNOWN_ID = "00000000-0000-0000-0000-000000000000"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)


def claims_of(token: str) -> dict[str, Any]:
    return dict(jwt.get_unverified_claims(token))


def signed(
    claims: Mapping[str, Any],
    key: str | bytes = DEVELOPMENT_JWT_SECRET,
    algorithm: str = "HS256",
    **header: Any,
) -> str:
    return str(jwt.encode(dict(claims), key, algorithm, headers=header))


def segment(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def claiming(**wrong: Any) -> Forge:
    return lambda token: signed(claims_of(token) | wrong)


def without(claim: str) -> Forge:
    return lambda token: signed({k: v for k, v in claims_of(token).items() if k != claim})


def signed_with(key: str | bytes, algorithm: str = "HS256", **header: Any) -> Forge:
    return lambda token: signed(claims_of(token), key, algorithm, **header)


def parts(join: Callable[[str, str, str], str]) -> Forge:
    return lambda token: join(*token.split("."))


def of_algorithm(name: Any, keep_signature: bool = True) -> Forge:
    header = segment({"alg": name, "typ": "JWT"})
    return parts(lambda _, payload, mark: f"{header}.{payload}.{mark if keep_signature else ''}")


WRONG_CLAIMS: list[dict[str, Any]] = [
    {"iss": "somebody-else"},
    {"aud": "another-platform"},
    {"aud": ["another-platform"]},
    {"type": "refresh"},
    {"type": "service"},
    {"type": "delegated"},
    {"type": ["access"]},
    {"exp": NOW - 1},
    {"exp": "soon"},
    {"nbf": NOW + 3600},
    {"sub": "admin"},
    {"sub": 1},
    {"sub": UNKNOWN_ID},
    {"sid": UNKNOWN_ID},
    {"sid": None},
    {"sid": {"a": "b"}},
]
CLAIMS = ("iss", "aud", "sub", "sid", "jti", "iat", "exp", "type")
ALGORITHMS = ("none", "None", "NONE", "", "HS384", "RS256", ["HS256"])
KEY_HEADERS: list[dict[str, Any]] = [
    {"kid": "../../../../dev/null"},
    {"kid": "x' UNION SELECT 'a"},
    {"jwk": {"kty": "oct", "k": "YQ"}},
    {"jku": "http://localhost/keys"},
    {"x5u": "http://localhost/certificate"},
]
FORGERIES: dict[str, Forge] = {
    # Without the values, of which some are times: every process must find the same names.
    **{f"claim {n} {[*wrong]}": claiming(**wrong) for n, wrong in enumerate(WRONG_CLAIMS)},
    **{f"no {claim}": without(claim) for claim in CLAIMS},
    **{f"alg {name!r}, signed": of_algorithm(name) for name in ALGORITHMS},
    **{f"alg {name!r}": of_algorithm(name, keep_signature=False) for name in ALGORITHMS},
    **{f"header {header}": signed_with("a", **header) for header in KEY_HEADERS},
    "a stronger algorithm": signed_with(DEVELOPMENT_JWT_SECRET, "HS512"),
    "a key pair of one's own": signed_with(RSA_KEY, "RS256"),
    "another key": signed_with("another key of thirty-two characters"),
    "an empty key": signed_with(" "),
    "truncated": lambda token: token[:-1],
    "longer": lambda token: token + "A",
    "no signature": parts(lambda header, payload, _: f"{header}.{payload}"),
    "no payload": parts(lambda header, _, mark: f"{header}..{mark}"),
    "an empty payload": parts(lambda header, _, mark: f"{header}.{segment({})}.{mark}"),
    "a list as payload": parts(lambda header, _, mark: f"{header}.{segment([])}.{mark}"),
    "a list as header": parts(lambda _, payload, mark: f"{segment([])}.{payload}.{mark}"),
    "a deep header": parts(
        lambda _, payload, mark: (
            f"{base64.urlsafe_b64encode(b'[' * 2000).decode()}.{payload}.{mark}"
        )
    ),
    "dots": lambda _: "." * 1000,
    "endless": lambda _: "A" * 50_000,
}


@pytest.fixture(scope="module")
def person(stack: Stack) -> Person:
    return register(stack)


def statuses(stack: Stack, **sent: Any) -> dict[str, int]:
    """Return each service's status for such a request."""
    return {
        service: send_request(stack, "GET", service, f"/api/v1{path}", **sent).status_code
        for service, path in PROTECTED_PATHS.items()
    }


def with_token(stack: Stack, token: str) -> dict[str, int]:
    return statuses(stack, headers={"Authorization": f"Bearer {token}"})


LET_IN = dict.fromkeys(PROTECTED_PATHS, 200)
REFUSED = dict.fromkeys(PROTECTED_PATHS, 401)


def test_a_forger_who_has_the_key_is_let_in(stack: Stack, person: Person) -> None:
    """Prove that the forgeries below are refused for their faults."""
    assert with_token(stack, signed(claims_of(person.token) | {"jti": "another"})) == LET_IN


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=list(FORGERIES))
def test_a_forged_token_is_refused(stack: Stack, person: Person, forge: Forge) -> None:
    assert with_token(stack, forge(person.token)) == REFUSED


def test_a_session_does_not_carry_somebody_elses_name(stack: Stack, person: Person) -> None:
    admin = log_in(stack, "admin@example.com")

    assert with_token(stack, claiming(sub=admin.user_id)(person.token)) == REFUSED


def test_a_refresh_token_is_no_access_token(stack: Stack, person: Person) -> None:
    credentials = {"email": person.email, "password": PASSWORD}
    session = get_json(send_request(stack, "POST", "identity", "/auth/login", json=credentials))

    assert with_token(stack, session["refresh_token"]) == REFUSED


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Bearer",
        b"%s",
        b"Bearer%s",
        b"Basic %s",
        b"Basic YTpi",
        b"Token %s",
        b"Bearer Bearer %s",
        b"Bearer %s %s",
        b"Bearer %s, Bearer nonsense",
        b'Bearer "%s"',
        b"Bearer \xc3\xa9%s",
        b"Bearer %s\xa0",
    ],
)
def test_a_good_token_in_an_odd_header_is_refused(
    stack: Stack, person: Person, header: bytes
) -> None:
    odd = header.replace(b"%s", person.token.encode())

    assert statuses(stack, headers={"Authorization": odd}) == REFUSED


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"params": {"access_token": "{}", "token": "{}", "authorization": "Bearer {}"}},
        {"headers": {"Cookie": "access_token={}; token={}; Authorization=Bearer {}"}},
        {"headers": {"Proxy-Authorization": "Bearer {}", "X-Authorization": "Bearer {}"}},
        {"headers": {"X-Forwarded-Authorization": "Bearer {}", "X-Access-Token": "{}"}},
        {"headers": {"X-User-ID": "{}", "X-Service-Name": "workflow-service"}},
    ],
)
def test_a_good_token_elsewhere_is_not_looked_at(
    stack: Stack, person: Person, elsewhere: dict[str, dict[str, str]]
) -> None:
    sent = {
        where: {name: text.replace("{}", person.token) for name, text in values.items()}
        for where, values in elsewhere.items()
    }

    assert statuses(stack, **sent) == REFUSED
