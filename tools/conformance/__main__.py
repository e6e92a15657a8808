"""Runs `make conformance URL=http://host:port [LEVEL=open|login|outage]`: see README.md."""

import subprocess
import sys
from collections import Counter
from contextlib import closing
from functools import partial

import httpx
from pydantic import ValidationError

from .registry import check_guarantees
from .target import NotCheckable, Options, Service


def main() -> int:
    options = read_options()
    stop_identity = partial(run_command, options.away)
    start_identity = partial(run_command, options.back)
    with closing(Service(options, stop_identity, start_identity)) as service:
        counts = print_verdicts(service)
    broken = counts["broken"]
    unchecked = counts["unknown"] + counts["skipped"]
    summary = f"{broken or 'No'} broken guarantee{'' if broken == 1 else 's'}"
    print(f"\n{summary}{f', {unchecked} not checked,' if unchecked else ''} at {options.url}")
    return 1 if broken or counts["unknown"] else 0


def run_command(command: str) -> None:
    if subprocess.run(command, shell=True, stdout=sys.stderr).returncode != 0:
        raise NotCheckable(f"this command failed: {command}")


def print_verdicts(service: Service) -> Counter[str]:
    """Print each verdict as soon as it is known, and count them by result."""
    try:
        service.get("/")
    except httpx.HTTPError as error:
        sys.exit(f"error: no service answers at {service.options.url}: {error}")
    counts = Counter[str]()
    for verdict in check_guarantees(service):
        print(f"{verdict.result:<10} {verdict.guarantee:<50} {verdict.evidence}", flush=True)
        counts[verdict.result] += 1
    return counts


def read_options() -> Options:
    try:
        return Options()
    except ValidationError as error:
        faults = [f"{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors()]
        sys.exit("error: " + "; ".join(faults))


if __name__ == "__main__":
    sys.exit(main())
