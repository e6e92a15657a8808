"""Gives the tests of this folder the stack that the tests across services use."""

from tests.conftest import pytest_runtest_makereport, stack

__all__ = ["pytest_runtest_makereport", "stack"]
