"""What was asked of a model, and what it cost."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelCall:
    """One question to one model, answered or not. `outcome` is ok, invalid, busy or refused."""

    provider: str
    model: str
    outcome: str
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0
