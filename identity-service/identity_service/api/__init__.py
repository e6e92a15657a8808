"""The HTTP API: a typed signature and one line per endpoint, a module per kind of caller."""

from chassis.routing import APIRouter

from . import api_keys, audit_events, auth, email_links, mfa, roles, tokens, users

unversioned_router = APIRouter()
unversioned_router.include_router(tokens.router, tags=["Tokens"])
unversioned_router.include_router(auth.router, tags=["Logging in"])
unversioned_router.include_router(email_links.router, tags=["By mail"])
unversioned_router.include_router(mfa.router, tags=["Second factor"])
unversioned_router.include_router(users.router, tags=["Users"])
unversioned_router.include_router(api_keys.router, tags=["Programs"])

router = APIRouter()
router.include_router(unversioned_router)
router.include_router(api_keys.service_accounts_router, tags=["Programs"])
router.include_router(roles.router, tags=["Roles"])
router.include_router(audit_events.router, tags=["Audit"])
