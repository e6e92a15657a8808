"""The step kinds. A new one is a function and a model in a file of its own, and a line here."""

from ..engine.outcomes import Kind
from .ai_summarize import SummarizeInput, summarize
from .approval import ApprovalInput, approve
from .branch import BranchInput, branch
from .communication_notify import NotifyInput, notify
from .content_fetch import FetchInput, fetch
from .content_process import ProcessInput, process
from .content_share import ShareInput, share

BRANCH = "branch"

KINDS = {
    "ai.summarize": Kind(summarize, SummarizeInput),
    "approval": Kind(approve, ApprovalInput),
    BRANCH: Kind(branch, BranchInput),
    "communication.notify": Kind(notify, NotifyInput),
    "content.fetch": Kind(fetch, FetchInput),
    "content.process": Kind(process, ProcessInput),
    "content.share": Kind(share, ShareInput),
}
