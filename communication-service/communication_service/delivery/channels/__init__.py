"""The channels, one file each; to add one, write a class with `send` and list it here."""

from .email import Email
from .in_app import InApp
from .sms import Sms
from .webhook import Webhook

# Served in this order; slow ones come last.
PROVIDERS: dict[str, type[Email | InApp | Sms | Webhook]]
PROVIDERS = {"in_app": InApp, "email": Email, "sms": Sms, "webhook": Webhook}
