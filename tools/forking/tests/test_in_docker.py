"""A fork and an ejected service as `make up` starts them in Docker, on the usual ports.

`make test-compose` runs this when its own stack is gone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.repository import Repository, copy_of_this

IN_DOCKER = {"STACK": "docker"}


@contextmanager
def up(repository: Repository) -> Iterator[None]:
    try:
        repository.must("make", "up", **IN_DOCKER)
        yield
    finally:
        repository.must("make", "reset", **IN_DOCKER)


def test_a_fork_and_what_is_ejected_of_it_keep_every_promise(tmp_path: Path) -> None:
    fork = copy_of_this(tmp_path / "fork")
    fork.must("make", "new-service", "NAME=billing", "PORT=8005")
    fork.must("make", "eject", "SERVICE=billing-service", f"TO={tmp_path / 'ejected'}")
    ejected = Repository(tmp_path / "ejected")
    ejected.share_packages()

    with up(fork):
        keeps_every_promise(fork)
        fork.must("make", "remove-service", "NAME=billing")
        fork.must("make", "up", **IN_DOCKER)
        assert "billing" not in fork.must("docker", "compose", "ps", "--all")
    for kind in ("volume", "network"):
        assert "fork_" not in fork.must("docker", kind, "ls")

    with up(ejected):
        keeps_every_promise(ejected)


def keeps_every_promise(repository: Repository) -> None:
    asked = ("make", "conformance", "URL=http://localhost:8005", "LEVEL=outage")
    assert "No broken promises at" in repository.must(*asked, **IN_DOCKER)
