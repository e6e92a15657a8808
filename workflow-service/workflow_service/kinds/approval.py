"""approval: have a person decide, and wait for it as long as it takes."""

from uuid import UUID

from pydantic import Field

from chassis.schemas import JsonObject, Text

from ..engine.outcomes import Ask, Call, Input
from .communication_notify import tell


class Message(Input):
    """How the assignee is told; the template is given `task_id` as well."""

    template: Text
    variables: JsonObject = Field(default={})


class ApprovalInput(Input):
    assignee_id: UUID
    title: Text = Field(min_length=1, max_length=500)
    subject: JsonObject = Field(default={})
    tell: Message | None = None


def approve(call: Call, given: ApprovalInput) -> Ask:
    if given.tell:
        variables = {**given.tell.variables, "task_id": str(call.step.id)}
        tell(call, given.assignee_id, template=given.tell.template, variables=variables)
    return Ask(str(given.assignee_id), given.title, given.subject)
