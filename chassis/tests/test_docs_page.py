"""/docs leads people in: `/` redirects to it, and in development it has a login form."""

from fastapi.testclient import TestClient

from chassis.app import create_app

from .toy import toy_settings

CREDENTIALS = {"email": "ada@example.com", "password": "a-password"}
SECRET = "a-secret-of-our-own-with-more-than-32-characters"


def production_client() -> TestClient:
    settings = toy_settings(
        environment="production", jwt_secret_key=SECRET, service_client_secret=SECRET + "2"
    )
    return TestClient(create_app(settings))


def test_the_root_leads_to_the_docs() -> None:
    response = TestClient(create_app(toy_settings())).get("/", follow_redirects=False)

    assert response.status_code == 307
    assert response.headers["Location"] == "/docs"


def test_in_development_the_docs_have_a_login_form() -> None:
    assert '<form id="login"' in TestClient(create_app(toy_settings())).get("/docs").text


def test_outside_development_there_is_no_login_form() -> None:
    client = production_client()

    assert '<form id="login"' not in client.get("/docs").text
    assert client.post("/docs/login", json=CREDENTIALS).status_code == 404


def test_the_login_of_identitys_own_docs_is_sent_to_its_login() -> None:
    client = TestClient(create_app(toy_settings()), follow_redirects=False)

    response = client.post("/docs/login", json=CREDENTIALS)

    assert response.status_code == 307  # the browser sends the body again
    assert response.headers["Location"] == "/api/v1/auth/login"
