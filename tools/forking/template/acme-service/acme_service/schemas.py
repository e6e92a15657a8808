"""What goes in and out over HTTP."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from chassis.schemas import STRICT, Text, check_text

# In this order: what is stripped away does not count.
Stripped = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Name = Annotated[Stripped, Field(max_length=200), AfterValidator(check_text)]
Description = Annotated[Text, Field(max_length=10_000)]


class ItemCreate(BaseModel):
    model_config = STRICT

    name: Name
    description: Description = ""


class ItemUpdate(BaseModel):
    """What is left out, or null, stays as it is."""

    model_config = STRICT

    name: Name | None = None
    description: Description | None = None


class ItemRead(BaseModel):
    id: UUID
    owner_id: str
    name: str
    description: str
    created_at: datetime
    updated_at: datetime
