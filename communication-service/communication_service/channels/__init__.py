"""The channels, one file each. A new one is a class with `send`, and a line in the table below.

What a provider opens for its batch, such as a connection, it puts on the stack it is given.
"""

from collections.abc import Callable
from contextlib import ExitStack

from chassis.service_client import ServiceClient

from ..settings import Settings
from .email import Email
from .in_app import InApp
from .provider import Provider

# In the order in which they are served: what is slow comes last.
PROVIDERS: dict[str, Callable[[Settings, ServiceClient, ExitStack], Provider]] = {
    "in_app": InApp,
    "email": Email,
}
