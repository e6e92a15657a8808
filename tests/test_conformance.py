"""Tests that every service, forks included, keeps every guarantee of the conformance kit."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from threading import Barrier

from tools.conformance.registry import Verdict, check_guarantees
from tools.conformance.target import Options, Service
from tools.localdev.services import HAS_IDENTITY, SERVICES

from .users import Stack

BARRIER_TIMEOUT_SECONDS = 120.0
IDENTITY_ITSELF = "this is identity itself"
# Bodies that the schema alone does not describe: see Options.create.
MESSAGE = {"recipient_id": "USER", "subject": "UNIQUE", "body": "Hello"}
TELL = {
    "kind": "communication.notify",
    "with": {"recipient_id": "run.started_by", "subject": "'Hello'", "body": "'You'"},
}
DEFINITION = {"name": "x-UNIQUE", "title": "Tell", "start": "tell", "steps": {"tell": TELL}}
CREATE = {
    "communication-service": f"/api/v1/notifications {json.dumps(MESSAGE)}",
    "workflow-service": f"/api/v1/definitions {json.dumps(DEFINITION)}",
}


def test_every_service_keeps_every_guarantee(stack: Stack) -> None:
    """Check all services at the same time, so that one outage of identity is enough."""
    names = [service.name for service in SERVICES if service.short != "identity"]
    stop_identity = Barrier(
        len(names) or 1, partial(stack.stop, "identity-service"), BARRIER_TIMEOUT_SECONDS
    )
    start_identity = Barrier(
        len(names) or 1, partial(stack.start, "identity-service"), BARRIER_TIMEOUT_SECONDS
    )

    def not_kept(name: str) -> list[Verdict]:
        options = Options.model_validate(
            {
                "url": stack.get_url(name),
                "identity": stack.get_url("identity-service"),
                "create": CREATE.get(name, ""),
                "level": "outage",
            }
        )
        with closing(Service(options, stop_identity.wait, start_identity.wait)) as service:
            return [verdict for verdict in check_guarantees(service) if verdict.result != "kept"]

    if HAS_IDENTITY:
        assert {verdict.evidence for verdict in not_kept("identity-service")} == {IDENTITY_ITSELF}
    with ThreadPoolExecutor() as pool:
        found = dict(zip(names, pool.map(not_kept, names), strict=True))

    assert not any(found.values()), found
