"""Checks over HTTP whether a service keeps the integration patterns; README.md lists them."""

from .checks import login, open, outage  # noqa: F401  (importing a module registers its checks)
