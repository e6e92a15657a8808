"""A fork and an ejected service as `make up` starts them in Docker, on the usual ports.

`make test-compose` runs this when its own stack is gone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.repository_copy import Repository, copy_repository

IN_DOCKER = {"STACK": "docker"}


@contextmanager
def up(repository: Repository) -> Iterator[None]:
    try:
        repository.run_successfully("make", "up", **IN_DOCKER)
        yield
    finally:
        repository.run_successfully("make", "reset", **IN_DOCKER)


def test_a_fork_and_what_is_ejected_of_it_keep_every_guarantee(tmp_path: Path) -> None:
    fork = copy_repository(tmp_path / "fork")
    fork.run_successfully("make", "new-service", "NAME=billing", "PORT=8005")
    fork.run_successfully("make", "eject", "SERVICE=billing-service", f"TO={tmp_path / 'ejected'}")
    ejected = Repository(tmp_path / "ejected")
    ejected.share_packages()

    with up(fork):
        assert_conformance(fork)
        fork.run_successfully("make", "remove-service", "NAME=billing")
        fork.run_successfully("make", "up", **IN_DOCKER)
        assert "billing" not in fork.run_successfully("docker", "compose", "ps", "--all")
    for kind in ("volume", "network"):
        assert "fork_" not in fork.run_successfully("docker", kind, "ls")

    with up(ejected):
        assert_conformance(ejected)


def assert_conformance(repository: Repository) -> None:
    asked = ("make", "conformance", "URL=http://localhost:8005", "LEVEL=outage")
    assert "No broken guarantees at" in repository.run_successfully(*asked, **IN_DOCKER)
