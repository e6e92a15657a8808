"""content.process: have the text of a document extracted, and wait until it is."""

from uuid import UUID

from ..engine.outcomes import Again, Call, Done, Input, Terminal

FIELDS = ("document_id", "version", "word_count", "page_count", "sha256")
LONGEST_PAUSE = 5.0  # seconds between two questions
MOST_POLLS = 360  # half an hour


class ProcessInput(Input):
    document_id: UUID


def process(call: Call, given: ProcessInput) -> Done | Again:
    document, polls = f"documents/{given.document_id}", call.step.polls
    if polls == 0:
        processing = call.ask(call.neighbours.content, "POST", f"{document}/process")
    else:
        processing = call.ask(call.neighbours.content, "GET", f"{document}/processing")
    if processing["status"] == "done":
        return Done({field: processing[field] for field in FIELDS})
    if processing["status"] == "failed":
        raise Terminal(f"The document cannot be processed: {processing['error']}")
    if polls >= MOST_POLLS:
        raise Terminal("The document was not processed within half an hour")
    return Again(min(LONGEST_PAUSE, 0.1 * 2**polls))
