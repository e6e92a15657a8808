"""The HTTP API: one module per topic; an endpoint is a typed signature and one line."""

from chassis.routing import APIRouter

from . import api_keys, audit_events, auth, email_links, mfa, roles, sessions, tokens, users

unversioned_router = APIRouter()
for module in (auth, sessions, mfa, email_links, tokens, users, api_keys):
    unversioned_router.include_router(module.router)

router = APIRouter()
router.include_router(unversioned_router)
router.include_router(api_keys.service_accounts_router)
router.include_router(roles.router)
router.include_router(audit_events.router)
