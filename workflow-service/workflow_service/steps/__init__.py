"""The step types. A new one is a class in a file here, which registers itself.

Importing this package imports every file in it, so that STEP_TYPES is complete.
"""

from . import ai, approval, content, control, http, notify, wait
from .protocol import STEP_TYPES

__all__ = ["STEP_TYPES", "ai", "approval", "content", "control", "http", "notify", "wait"]
