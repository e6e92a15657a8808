"""The step kinds. A new one is a class in a file here, and a line in the table."""

from . import ai, approval, content, control, http, notify, wait
from .protocol import Control, Kind

KINDS: dict[str, type[Kind] | type[Control]] = {
    "ai.classify": ai.Classify,
    "ai.extract": ai.Extract,
    "ai.summarize": ai.Summarize,
    "approval": approval.Approve,
    "branch": control.Branch,
    "communication.notify": notify.Notify,
    "content.fetch": content.Fetch,
    "content.process": content.Process,
    "content.share": content.Share,
    "foreach": control.ForEach,
    "http": http.Request,
    "parallel": control.Parallel,
    "set": control.Set,
    "wait": wait.Wait,
    "workflow": control.Subworkflow,
}
