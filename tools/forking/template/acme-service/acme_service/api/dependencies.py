"""The parameter types of endpoints: who calls, and with which permission."""

from typing import Annotated

from chassis.auth import User, require_permission
from chassis.idempotency import idempotent

from ..database import DbSession

Reader = Annotated[User, require_permission("acme:read")]
Writer = Annotated[User, require_permission("acme:write")]

Idempotent = idempotent(DbSession)
