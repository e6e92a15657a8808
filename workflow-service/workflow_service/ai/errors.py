"""The ways in which a model provider gives no usable answer, beside `Unavailable`."""

from chassis.errors import BadGateway


class ModelRefused(BadGateway):
    """Raised when another attempt would not help: a wrong key, no credit, a content filter."""


class InvalidAnswer(ModelRefused):
    """Raised when an answer does not match its schema; `fault` says how, `text` is the answer."""

    def __init__(self, provider: str, fault: str, text: str) -> None:
        super().__init__(f"{provider}'s answer is not valid: {fault}", target=provider)
        self.fault = fault
        self.text = text
