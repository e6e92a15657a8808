"""The step kinds. A new one is a class in a file here, and a line in the table."""

from ..engine.outcomes import Kind
from . import ai, branch, content, people

BRANCH = "branch"

KINDS: dict[str, type[Kind]] = {
    "ai.classify": ai.Classify,
    "ai.extract": ai.Extract,
    "ai.summarize": ai.Summarize,
    "approval": people.Approve,
    BRANCH: branch.Branch,
    "communication.notify": people.Notify,
    "content.fetch": content.Fetch,
    "content.process": content.Process,
    "content.share": content.Share,
}
