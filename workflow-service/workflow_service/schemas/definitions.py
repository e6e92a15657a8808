"""Bodies of /definitions."""

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field

from chassis.schemas import Text

from ..definition.model import Definition

DefinitionName = Annotated[Text, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=100)]


class DefinitionCreate(Definition):
    name: DefinitionName


class DefinitionRead(DefinitionCreate):
    model_config = ConfigDict(extra="ignore")

    version: int
    created_by: str | None = Field(description="Null for a definition that came with the service.")
    created_at: datetime
