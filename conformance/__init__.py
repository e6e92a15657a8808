"""Asks any service over HTTP whether it keeps the integration patterns; README.md lists them."""

from . import alone, outage, people  # noqa: F401  (their promises are on the list now)
