"""What calls to models cost: one record for each call, collected in a log."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

from chassis.errors import Unavailable

from .providers import ModelRefused


@dataclass(slots=True)
class ModelCall:
    provider: str
    model: str
    outcome: str = "ok"  # or invalid, busy, refused
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0


@dataclass
class UsageLog:
    """Collects every call that an answer took, also the calls that failed: they cost money too."""

    calls: list[ModelCall] = field(default_factory=list)

    @contextmanager
    def record_call(self, provider: str, model: str) -> Iterator[ModelCall]:
        """Add the call made inside the `with` block, with its duration and its outcome."""
        call = ModelCall(provider, model)
        started = monotonic()
        try:
            yield call
        except (Unavailable, ModelRefused) as error:
            call.outcome = "busy" if isinstance(error, Unavailable) else error.outcome
            raise
        finally:
            call.seconds = round(monotonic() - started, 3)
            self.calls.append(call)
