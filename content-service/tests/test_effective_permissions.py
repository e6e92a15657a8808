"""Effective permissions, compared with what happens when the user tries."""

from itertools import product
from typing import Any
from uuid import uuid4

import pytest

from .conftest import Caller, Login, create_role_name, get_time_in_an_hour


def read_effective(caller: Caller, document: dict[str, Any], person: Caller) -> Any:
    path = f"/documents/{document['id']}/permissions/effective"
    response = caller.get(path, params={"user": person.user_id})
    assert response.status_code == 200, response.text
    return response.json()


LEVELS = (None, "read", "write", "manage")
RIGHTS = ((), ("documents:read",), ("documents:read", "documents:write"), ("*",))


@pytest.mark.parametrize(("own", "of_role"), list(product(LEVELS, LEVELS)))
def test_the_effective_permission_is_what_really_happens(
    author: Caller, login: Login, own: str | None, of_role: str | None
) -> None:
    for rights in RIGHTS:
        role = create_role_name()
        person = login(*rights or ("notifications:send",), roles=(role,))
        document = author.create()
        if own:
            author.share(document, person, own)
        if of_role:
            author.share(document, role, of_role)

        said = read_effective(author, document, person)

        outcomes = {
            "read": person.read(document).status_code == 200,
            "write": person.change(document, title="Changed").status_code == 200,
            "delete": person.delete(f"/documents/{document['id']}").status_code == 204,
        }
        assert {name: said[name] for name in outcomes} == outcomes, (rights, said)


def test_the_sources_of_a_permission_are_named(author: Caller, login: Login) -> None:
    role = create_role_name()
    until = get_time_in_an_hour()
    admin = login("*", roles=(role,))
    document = author.create()
    author.share(document, admin, "read", expires_at=until)
    author.share(document, role, "write")

    said = read_effective(author, document, admin)
    own = read_effective(author, document, author)

    assert said["level"] == "manage"
    found = {(s["source"], s["role"], s["level"], s["expires_at"] is None) for s in said["sources"]}
    assert found == {
        ("user", None, "read", False),
        ("role", role, "write", True),
        ("administrator", None, "manage", True),
    }
    assert [(s["source"], s["level"]) for s in own["sources"]] == [("owner", "manage")]


def test_users_may_ask_about_themselves_and_managers_about_others(
    author: Caller, reviewer: Caller, stranger: Caller
) -> None:
    document = author.create()
    author.share(document, reviewer, "write")
    path = f"/documents/{document['id']}/permissions/effective"

    own = reviewer.get(path)

    assert (own.status_code, own.json()["level"]) == (200, "write")
    assert reviewer.get(path, params={"user": author.user_id}).json()["code"] == "LevelTooLow"
    assert stranger.get(path).json()["code"] == "UnknownDocument"
    assert author.get(path, params={"user": str(uuid4())}).json()["code"] == "UnknownGrantee"
    assert read_effective(author, document, stranger)["level"] is None
