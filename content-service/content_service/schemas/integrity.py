"""The report on stored files that are missing or damaged."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from chassis.schemas import ResponseModel

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class VersionReference(ResponseModel):
    document_id: UUID
    number: int


class DamagedFile(ResponseModel):
    sha256: str
    fault: Literal["missing", "damaged"]
    versions: list[VersionReference] = Field(
        description="Versions that use the file, a hundred at most."
    )


class IntegrityReport(ResponseModel):
    checked: int
    items: list[DamagedFile]
    next_cursor: str | None
