"""Checks over HTTP whether a service keeps the integration patterns; README.md lists them."""

from .checks import documented, login, open, outage  # noqa: F401  (importing a module registers its checks)
