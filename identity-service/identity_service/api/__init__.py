"""The HTTP API: one module per topic; an endpoint is a typed signature and one line."""

from chassis.routing import APIRouter

from . import api_keys, audit_events, auth, email_links, mfa, roles, tokens, users

unversioned_router = APIRouter()
unversioned_router.include_router(tokens.router, tags=["Tokens"])
unversioned_router.include_router(auth.router, tags=["Login and sessions"])
unversioned_router.include_router(email_links.router, tags=["Email links"])
unversioned_router.include_router(mfa.router, tags=["Second factor"])
unversioned_router.include_router(users.router, tags=["Users"])
unversioned_router.include_router(api_keys.router, tags=["API keys"])

router = APIRouter()
router.include_router(unversioned_router)
router.include_router(api_keys.service_accounts_router, tags=["API keys"])
router.include_router(roles.router, tags=["Roles"])
router.include_router(audit_events.router, tags=["Audit"])
