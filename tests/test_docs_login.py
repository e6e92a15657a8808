"""People log in on the /docs page of any service by email and password."""

import httpx
import pytest

from tools.localdev.services import SERVICES

from .users import DEMO_PASSWORD, Stack


@pytest.mark.parametrize("name", [service.name for service in SERVICES])
def test_a_login_on_the_docs_gives_a_token_of_identity(stack: Stack, name: str) -> None:
    credentials = {"email": "admin@example.com", "password": DEMO_PASSWORD}

    response = httpx.post(
        stack.get_url(name) + "/docs/login", json=credentials, follow_redirects=True
    )

    assert response.status_code == 200, response.text
    headers = {"Authorization": f"Bearer {response.json()['access_token']}"}
    me = httpx.get(stack.get_url("identity-service") + "/api/v1/auth/me", headers=headers)
    assert me.json()["email"] == credentials["email"]


def test_a_wrong_password_on_the_docs_is_answered_as_identity_answers_it(stack: Stack) -> None:
    credentials = {"email": "nora@example.com", "password": "wrong"}

    response = httpx.post(stack.get_url("content-service") + "/docs/login", json=credentials)

    assert response.status_code == 401
    assert response.json()["detail"] == "Wrong email or password"
