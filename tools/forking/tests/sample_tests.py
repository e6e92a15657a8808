"""A pytest plugin that runs one test of each file of a service, and all tests across services.

For a copy of services whose whole suites have run in this repository: what a copy may lack (a file,
a package, a setting) breaks the imports or fixtures of a whole file, and all files are imported.
"""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Function]) -> None:
    samples: dict[Path, pytest.Function] = {}
    for item in sorted(items, key=lambda item: len(item.fixturenames)):
        samples[item.path] = item  # in the end, the one with the most fixtures

    def is_kept(item: pytest.Function) -> bool:
        return item.nodeid.startswith("tests/") or samples[item.path] is item

    config.hook.pytest_deselected(items=[item for item in items if not is_kept(item)])
    items[:] = filter(is_kept, items)
