"""Permissions on a document, its share links and its audit trail."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, model_validator

from chassis.schemas import RequestModel, ResponseModel, example

from ..models import Level
from .fields import Expiry


class PermissionWrite(RequestModel):
    model_config = example(level="read")

    level: Level
    expires_at: Expiry | None = Field(default=None, description="Within ten years; null is never.")


class PermissionRead(ResponseModel):
    """Shows the permission of a user or of a role; the other of the two ids is null."""

    document_id: UUID
    user_id: UUID | None
    role: str | None
    level: Level
    expires_at: datetime | None
    granted_by: UUID = Field(description="The id of the user who granted it.")
    granted_at: datetime


class PermissionSource(ResponseModel):
    """Names one reason why a user may do something with a document."""

    source: Literal["owner", "user", "role", "administrator"]
    role: str | None = Field(default=None, description="The role, if that is the source.")
    level: Level
    expires_at: datetime | None = None


class EffectivePermission(ResponseModel):
    """Combines what was granted on the document with what the user's roles permit."""

    user_id: UUID
    level: Level | None = Field(description="The highest level that was granted.")
    read: bool = Field(description="Needs read on the document and `documents:read`.")
    write: bool = Field(description="Needs write on the document and `documents:write`.")
    delete: bool = Field(description="Needs manage on the document and `documents:write`.")
    sources: list[PermissionSource] = Field(description="Every reason; empty if there is none.")


# ASCII only: browsers encode other characters of a password differently.
LinkPassword = Annotated[str, Field(min_length=8, max_length=200, pattern=r"^[ -~]+$")]


class ShareLinkCreate(RequestModel):
    model_config = example(policy="latest", max_uses=10, password="three rivers")

    policy: Literal["pinned", "latest"] = Field(description="Opens one version, or the latest.")
    version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(
        default=None, description="The version to pin; without it, the current one."
    )
    expires_at: Expiry | None = Field(default=None, description="Within ten years; null is never.")
    max_uses: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="How many downloads it allows; null is any number."
    )
    password: LinkPassword | None = Field(
        default=None, description="Printable ASCII: browsers encode other characters differently."
    )

    @model_validator(mode="after")
    def check_version(self) -> "ShareLinkCreate":
        if self.policy == "latest" and self.version is not None:
            raise ValueError("version: only allowed with the policy pinned")
        return self


class ShareLinkRead(ResponseModel):
    id: UUID
    document_id: UUID
    policy: Literal["pinned", "latest"]
    version: int | None = Field(description="The version it opens; null with the policy latest.")
    expires_at: datetime | None
    max_uses: int | None
    uses: int = Field(description="How many downloads there were.")
    has_password: bool
    created_by: UUID
    created_at: datetime
    revoked_at: datetime | None


class ShareLinkCreated(ShareLinkRead):
    """Shows the token, which no later response can: only its hash is stored."""

    token: str
    url: str = Field(description="The path that opens the document, with the token.")


class AuditEntryRead(ResponseModel):
    id: UUID
    action: str = Field(description="Such as `document.created` or `permission.granted`.")
    actor_id: UUID | None = Field(description="Null for visitors of links and the service itself.")
    acting_service: str | None = Field(description="The service that acted for the user.")
    at: datetime
    trace_id: str | None = Field(description="Finds the request in the logs.")
    details: dict[str, Any] = Field(description="What else there is to say about the action.")
