"""Asks any service over HTTP whether it keeps the integration patterns; README.md lists them."""

from .checks import login, open, outage  # noqa: F401  (importing a module registers its checks)
