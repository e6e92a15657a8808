"""The SMS channel, with a provider whose answers a test chooses."""

import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest
from pydantic import SecretStr, ValidationError

from communication_service.api.dependencies import get_settings
from communication_service.main import app
from communication_service.settings import Settings, settings
from tools.localdev.fake_identity import FakeIdentity

from .conftest import Caller
from .deliveries import get_outcomes, get_retry_delay
from .webhook_sink import HangingSink, Sink, running_sink

NUMBER = "+15005550006"


@pytest.fixture
def provider() -> Iterator[Sink]:
    with running_sink(Sink) as sink:
        sink.always = (201, {})
        yield sink


@pytest.fixture
def deliver_sms(deliver: Callable[..., None], provider: Sink) -> Iterator[Callable[..., None]]:
    """Delivers with an account at the provider."""
    account = {
        "sms_account_sid": "AC1",
        "sms_auth_token": SecretStr("token"),
        "sms_sender": "+1",
        "sms_api_url": provider.url.removesuffix("/hook"),
        "delivery_first_delay_seconds": 300,
    }
    app.dependency_overrides[get_settings] = lambda: settings.model_copy(update=account)
    yield lambda **changes: deliver(**account | changes)
    app.dependency_overrides.clear()


@pytest.fixture
def with_phone(recipient: Caller, identity: FakeIdentity) -> Caller:
    identity.contacts[recipient.user_id]["phone"] = NUMBER
    return recipient


def send_sms(sender: Caller, recipient: Caller, **fields: Any) -> dict[str, Any]:
    return sender.notify(recipient, channels=["sms"], **fields)


def test_an_sms_goes_to_the_number_that_identity_has(
    sender: Caller, with_phone: Caller, provider: Sink, deliver_sms: Callable[..., None]
) -> None:
    accepted = send_sms(sender, with_phone, subject="Grüße", body="x" * 2000)

    deliver_sms()

    ((headers, content),) = provider.received
    form = {name: values[0] for name, values in parse_qs(content.decode()).items()}
    assert (form["To"], form["From"]) == (NUMBER, "+1")
    assert form["Body"] == f"Grüße\n{'x' * 2000}"[:1600]
    assert headers["authorization"] == "Basic " + b64encode(b"AC1:token").decode()
    assert headers["idempotency-key"] == accepted["deliveries"][0]["id"]
    assert sender.status(accepted) == "delivered"
    assert sender.attempts(accepted)[0]["response"] == "201 Hello"


def test_a_provider_that_is_busy_is_called_again_when_it_says(
    sender: Caller, with_phone: Caller, provider: Sink, deliver_sms: Callable[..., None]
) -> None:
    provider.answers = [(429, {"Retry-After": "600"})]
    accepted = send_sms(sender, with_phone)

    deliver_sms()

    assert get_outcomes(sender, accepted) == ["failed"]
    assert get_retry_delay(accepted["id"]) > 590


def test_a_provider_that_does_not_answer_is_called_again_and_may_have_sent_it(
    sender: Caller, with_phone: Caller, deliver_sms: Callable[..., None]
) -> None:
    accepted = send_sms(sender, with_phone)

    with running_sink(HangingSink) as hanging:
        url = hanging.url.removesuffix("/hook")
        deliver_sms(sms_api_url=url, sms_timeout_seconds=0.2)
        hanging.awake.set()

    assert sender.status(accepted) == "pending"
    assert get_outcomes(sender, accepted) == ["unknown"]


def test_an_account_needs_a_sender() -> None:
    with pytest.raises(ValidationError, match="SMS_ACCOUNT_SID"):
        Settings(sms_account_sid="AC1")


@pytest.mark.parametrize(("status", "becomes"), [(400, "dead"), (401, "pending"), (500, "pending")])
def test_only_what_is_wrong_with_the_message_ends_it(
    status: int,
    becomes: str,
    sender: Caller,
    with_phone: Caller,
    provider: Sink,
    deliver_sms: Callable[..., None],
) -> None:
    provider.answers = [(status, {})]
    accepted = send_sms(sender, with_phone)

    deliver_sms()

    assert sender.status(accepted) == becomes


@pytest.mark.parametrize("number", [None, "", "0171 123456", "+1\r\nTo: +2", "+0123456789"])
def test_without_a_usable_number_it_ends_dead(
    number: str | None,
    sender: Caller,
    recipient: Caller,
    identity: FakeIdentity,
    provider: Sink,
    deliver_sms: Callable[..., None],
) -> None:
    identity.contacts[recipient.user_id]["phone"] = number
    accepted = send_sms(sender, recipient)

    deliver_sms()

    assert sender.status(accepted) == "dead"
    assert "phone number" in sender.attempts(accepted)[0]["error"]
    assert provider.received == []


def test_a_channel_that_fails_as_a_whole_keeps_no_other_from_its_turn(
    sender: Caller, with_phone: Caller, provider: Sink, deliver_sms: Callable[..., None]
) -> None:
    with_phone.post("/webhook-endpoints", json={"url": provider.url}).raise_for_status()
    accepted = sender.notify(with_phone, channels=["sms", "webhook"])

    deliver_sms(sms_api_url="http://provider:port", delivery_lease_seconds=0.05)

    found = sender.get(f"/notifications/{accepted['id']}").json()["deliveries"]
    assert [delivery["status"] for delivery in found] == ["running", "delivered"]
    time.sleep(0.1)
    deliver_sms()  # another worker finds the expired lease
    assert sender.status(accepted) == "delivered"


def test_without_a_provider_the_channel_is_refused_by_name(
    sender: Caller, recipient: Caller
) -> None:
    new = {"recipient_id": recipient.user_id, "channels": ["sms"], "subject": "Hi", "body": "Hi"}

    response = sender.post("/notifications", json=new)

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "channels"
