"""The channels, one file each. A new one is a class with `send`, and a line in the table below."""

from collections.abc import Callable

from .email import Email
from .in_app import InApp
from .provider import Batch, Provider

# In the order in which they are served: what is slow comes last.
PROVIDERS: dict[str, Callable[[Batch], Provider]] = {
    "in_app": InApp,
    "email": Email,
}
