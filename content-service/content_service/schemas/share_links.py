"""Share links: created once with their token, then listed without it."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, model_validator

from chassis.schemas import RequestModel, ResponseModel

from .fields import Expiry

# ASCII only: browsers encode other characters of a password differently.
LinkPassword = Annotated[str, Field(min_length=8, max_length=200, pattern=r"^[ -~]+$")]


class ShareLinkCreate(RequestModel):
    policy: Literal["pinned", "latest"] = Field(
        description="Whether the link stays with one version or opens the latest."
    )
    version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(
        default=None, description="The version to pin; without it, the current one."
    )
    expires_at: Expiry | None = None
    max_uses: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
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
    version: int | None
    expires_at: datetime | None
    max_uses: int | None
    uses: int
    has_password: bool
    created_by: UUID
    created_at: datetime
    revoked_at: datetime | None


class ShareLinkCreated(ShareLinkRead):
    """Shows the token, which no later response can: only its hash is stored."""

    token: str
    url: str
