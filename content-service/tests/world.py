"""A random world of users, roles and documents, and a model of who may see what in it."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from .conftest import Caller, Login, expect_created, expire_grant

LEVELS = ("read", "write", "manage")


@dataclass
class Person:
    caller: Caller
    names: set[str]
    sees_all: bool = False


@dataclass
class KnownDocument:
    """Describes a document of the world; its word is in no other title."""

    id: str
    word: str
    owner: Person
    size: int
    grants: dict[str, str]  # levels of valid grants, by grantee
    is_trashed: bool


def get_expected_level(person: Person, doc: KnownDocument) -> str | None:
    """Decide by the model: these few rules are all of it."""
    if doc.is_trashed:
        return None
    if person.sees_all:
        return "manage"
    theirs = [level for grantee, level in doc.grants.items() if grantee in person.names]
    return max(theirs, key=LEVELS.index, default=None)


@dataclass
class World:
    dice: random.Random
    login: Login
    common: str = ""  # a word in every document
    roles: list[str] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)
    documents: list[KnownDocument] = field(default_factory=list)

    def make_word(self) -> str:
        return "".join(self.dice.choices("bcdfgklmnprtvz", k=20))

    def create(self) -> None:
        self.common = self.make_word()
        self.roles = [f"role-{uuid4().hex[:12]}" for _ in range(4)]
        self.people = [Person(self.login("*"), set(), sees_all=True)]
        self.people += [self.add_person(roles) for roles in (0, 1, 1, 2, 4)]
        self.documents = [self.add_document() for _ in range(40)]

    def add_person(self, roles: int) -> Person:
        own = self.dice.sample(self.roles, roles)
        caller = self.login(roles=("member", *own))
        return Person(caller, {f"user:{caller.user_id}", *(f"role:{role}" for role in own)})

    def add_document(self) -> KnownDocument:
        owner = self.dice.choice(self.people[1:])
        word = self.make_word()
        document = owner.caller.create(title=f"About {word}", body=f"{self.common} {word}")
        if self.dice.random() < 0.3:
            owner.caller.change(document, tags=["changed"])
        grants = dict(self.grant(owner, document) for _ in range(self.dice.randrange(5)))
        holding = {grantee: level for grantee, level in grants.items() if level}
        link = {"policy": "latest"}
        expect_created(owner.caller.post(f"/documents/{document['id']}/share-links", json=link))
        owner.caller.read(document)  # fills the cache
        is_trashed = self.dice.random() < 0.2
        if is_trashed:
            owner.caller.delete(f"/documents/{document['id']}")
        mine = {f"user:{owner.caller.user_id}": "manage"}
        size = document["size"]
        return KnownDocument(document["id"], word, owner, size, {**holding, **mine}, is_trashed)

    def grant(self, owner: Person, document: dict[str, Any]) -> tuple[str, str]:
        """Grant a level; return the grantee and the level, which is empty once expired."""
        others = [person.caller for person in self.people if person is not owner]
        candidates: list[Caller | str] = [*others, *self.roles]
        to = self.dice.choice(candidates)
        grantee = f"role:{to}" if isinstance(to, str) else f"user:{to.user_id}"
        level = self.dice.choice(LEVELS)
        time = self.dice.choice([None, None, "ahead", "over"])
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        owner.caller.share(document, to, level, expires_at=time and later)
        if time == "over":
            expire_grant(document, grantee)
        return grantee, "" if time == "over" else level
