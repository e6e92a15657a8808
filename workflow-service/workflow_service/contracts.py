"""What this service uses of its neighbours, beside the calls of all in chassis/contracts.py.

The fields of Document and Processing are also the outputs of the steps that read them.
"""

from types import NoneType
from typing import Literal

from typing_extensions import TypedDict

from chassis.contracts import NeighbourCall, NewNotification


class Document(TypedDict):
    id: str
    owner_id: str
    title: str
    content_type: str
    filename: str | None
    size: int
    sha256: str
    version: int
    tags: list[str]


class DocumentVersion(TypedDict):
    version: int
    sha256: str


class DocumentText(TypedDict):
    body: str | None


class ProcessedText(TypedDict):
    text: str | None


class Processing(TypedDict):
    document_id: str
    version: int
    word_count: int | None
    page_count: int | None
    sha256: str
    status: str
    error: str | None


Level = Literal["read", "write", "manage"]


class EffectiveLevel(TypedDict):
    level: Level | None


class NewLevel(TypedDict):
    level: Level


class SentNotification(TypedDict):
    id: str
    status: str


class User(TypedDict):
    id: str


class UserPage(TypedDict):
    items: list[User]


DOCUMENT = "/api/v1/documents/{document_id}"
PERMISSIONS = f"{DOCUMENT}/permissions"

READ_DOCUMENT = NeighbourCall("content", "GET", DOCUMENT, Document, NoneType)
READ_VERSION = NeighbourCall("content", "GET", DOCUMENT, DocumentVersion, NoneType)
READ_BODY = NeighbourCall("content", "GET", DOCUMENT, DocumentText, NoneType)
REQUEST_PROCESSING = NeighbourCall("content", "POST", f"{DOCUMENT}/process", Processing, NoneType)
READ_PROCESSING = NeighbourCall("content", "GET", f"{DOCUMENT}/processing", Processing, NoneType)
READ_TEXT = NeighbourCall("content", "GET", f"{DOCUMENT}/processing", ProcessedText, NoneType)
READ_LEVEL = NeighbourCall(
    "content", "GET", f"{PERMISSIONS}/effective", EffectiveLevel, NoneType, query=["user"]
)
SET_LEVEL = NeighbourCall("content", "PUT", f"{PERMISSIONS}/{{user_id}}", object, NewLevel)
SEND_NOTIFICATION = NeighbourCall(
    "communication", "POST", "/api/v1/notifications", SentNotification, NewNotification
)
LIST_USERS = NeighbourCall(
    "identity", "GET", "/api/v1/users", UserPage, NoneType, query=["role", "limit"]
)
