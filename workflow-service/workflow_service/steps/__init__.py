"""The step kinds. A new one is a class in a file here, and a line in the table."""

from . import ai, approval, content, control, http, notify, wait
from .protocol import ControlStep, StepType

STEP_TYPES: dict[str, type[StepType] | type[ControlStep]] = {
    "ai.classify": ai.Classify,
    "ai.extract": ai.Extract,
    "ai.summarize": ai.Summarize,
    "approval": approval.Approval,
    "branch": control.Branch,
    "communication.notify": notify.Notify,
    "content.fetch": content.FetchDocument,
    "content.process": content.ProcessDocument,
    "content.share": content.ShareDocument,
    "foreach": control.ForEach,
    "http": http.HttpRequest,
    "parallel": control.Parallel,
    "set": control.Set,
    "wait": wait.Wait,
    "workflow": control.Subworkflow,
}
