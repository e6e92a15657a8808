"""Tests across services. A package, so that pytest stops the stack after the last of its tests."""
