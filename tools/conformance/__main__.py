"""`make conformance URL=http://host:port [LEVEL=open|login|outage]`: README.md has the rest."""

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
    question = read_options()
    away, back = (partial(run_command, command) for command in (question.away, question.back))
    with closing(Service(question, away, back)) as service:
        words = print_verdicts(service)
    broken, left_out = words["broken"], words["unknown"] + words["not asked"]
    summary = f"{broken or 'No'} broken promise{'' if broken == 1 else 's'}"
    print(f"\n{summary}{f', {left_out} not asked about,' if left_out else ''} at {question.url}")
    return 1 if broken or words["unknown"] else 0


def run_command(command: str) -> None:
    if subprocess.run(command, shell=True, stdout=sys.stderr).returncode != 0:
        raise NotCheckable(f"this failed: {command}")


def print_verdicts(service: Service) -> Counter[str]:
    """Prints the table as it comes to be; how many verdicts there are of each kind."""
    try:
        service.get("/")
    except httpx.HTTPError as error:
        sys.exit(f"error: nothing answers at {service.options.url}: {error}")
    words = Counter[str]()
    for verdict in check_guarantees(service):
        print(f"{verdict.result:<10} {verdict.guarantee:<46} {verdict.evidence}", flush=True)
        words[verdict.result] += 1
    return words


def read_options() -> Options:
    try:
        return Options()
    except ValidationError as error:
        wrong = [f"{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors()]
        sys.exit("error: " + "; ".join(wrong))


if __name__ == "__main__":
    sys.exit(main())
