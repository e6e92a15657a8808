"""Bodies of requests and responses."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from chassis.schemas import RequestModel, ResponseModel, Text, check_text, example

# In this order, so that stripped spaces do not count.
Stripped = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Name = Annotated[Stripped, Field(max_length=200), AfterValidator(check_text)]
Description = Annotated[Text, Field(max_length=10_000)]


class ItemCreate(RequestModel):
    model_config = example(name="Lamp", description="Green, with a dimmer.")

    name: Name = Field(description="Unique among the items of its owner.")
    description: Description = ""


class ItemUpdate(RequestModel):
    """Changes an item; a field that is missing or null stays unchanged."""

    model_config = example(description="Red, with a dimmer.")

    name: Name | None = None
    description: Description | None = None


class ItemRead(ResponseModel):
    id: UUID
    owner_id: str = Field(description="The id of the user who created it.")
    name: str
    description: str
    created_at: datetime
    updated_at: datetime
