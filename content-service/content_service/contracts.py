"""What this service uses of identity, beside the calls of every service in chassis/contracts.py."""

from types import NoneType

from typing_extensions import TypedDict

from chassis.contracts import NeighbourCall


class Profile(TypedDict):
    user_id: str


class Role(TypedDict):
    name: str


class Rights(TypedDict):
    roles: list[str]
    permissions: list[str]


USERS = "/api/v1/users/{user_id}"
READ_PROFILE = NeighbourCall("identity", "GET", f"{USERS}/profile", Profile, NoneType)
READ_RIGHTS = NeighbourCall("identity", "GET", f"{USERS}/permissions", Rights, NoneType)
READ_ROLE = NeighbourCall("identity", "GET", "/api/v1/roles/{name}", Role, NoneType)
