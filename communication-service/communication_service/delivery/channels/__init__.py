"""The channels, one file each. A new one is a class with `send`, and a line in the table below."""

from .email import Email
from .in_app import InApp
from .sms import Sms
from .webhook import Webhook

# In the order in which they are served: what is slow comes last.
PROVIDERS: dict[str, type[Email | InApp | Sms | Webhook]] = {
    "in_app": InApp,
    "email": Email,
    "sms": Sms,
    "webhook": Webhook,
}
