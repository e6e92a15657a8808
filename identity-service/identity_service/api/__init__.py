"""The HTTP API: a typed signature and one line per endpoint, a module per kind of caller."""

from fastapi import APIRouter

from . import audit_events, by_mail, keys, people, roles, second_factor, services, users

unversioned_router = APIRouter()
unversioned_router.include_router(services.router, tags=["Tokens"])
unversioned_router.include_router(people.router, tags=["Logging in"])
unversioned_router.include_router(by_mail.router, tags=["By mail"])
unversioned_router.include_router(second_factor.router, tags=["Second factor"])
unversioned_router.include_router(users.router, tags=["Users"])
unversioned_router.include_router(keys.router, tags=["Programs"])

router = APIRouter()
router.include_router(unversioned_router)
router.include_router(keys.accounts_router, tags=["Programs"])
router.include_router(roles.router, tags=["Roles"])
router.include_router(audit_events.router, tags=["Audit"])
