"""Tests that the first login from a device is reported by mail and in the inbox."""

from .users import PASSWORD, Stack, eventually, get_mails, register, send_request

DEVICE = "Lynx/2.9"


def test_a_new_device_is_reported_by_mail_and_in_the_inbox(stack: Stack) -> None:
    person = register(stack)
    login = {"email": person.email, "password": PASSWORD}

    for device in (DEVICE, DEVICE):
        headers = {"User-Agent": device}
        send_request(stack, "POST", "identity", "/api/v1/auth/login", json=login, headers=headers)

    assert len(eventually(lambda: get_mails(stack, person.email, DEVICE))) == 1
    assert eventually(lambda: DEVICE in str(person.get("communication", "/inbox")))
