"""A login with a device that was never seen: its owner hears of it, by mail and in the inbox."""

from .people import PASSWORD, Stack, ask, eventually, mails, register

DEVICE = "Lynx/2.9"


def test_a_new_device_is_told_by_mail_and_in_the_inbox(stack: Stack) -> None:
    person = register(stack)
    login = {"email": person.email, "password": PASSWORD}

    for device in (DEVICE, DEVICE):
        headers = {"User-Agent": device}
        ask(stack, "POST", "identity", "/api/v1/auth/login", json=login, headers=headers)

    assert len(eventually(lambda: mails(stack, person.email, DEVICE))) == 1
    assert eventually(lambda: DEVICE in str(person.get("communication", "/inbox")))
