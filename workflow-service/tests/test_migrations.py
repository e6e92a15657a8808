"""Upgrades a database that has unfinished runs; they continue afterwards."""

import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from tools.localdev.test_servers import TemporaryServers
from workflow_service.settings import SERVICE_FOLDER, Settings

RUN = str(uuid4())
STEP = str(uuid4())
BEFORE = f"""
INSERT INTO workflow_runs (id, definition_id, definition, version, status, input, trace_id,
                           started_by)
SELECT '{RUN}', id, name, 1, 'waiting', '{{}}', 'trace', 'ada' FROM workflow_definitions;
INSERT INTO workflow_steps (id, run_id, name, kind, status, polls, attempts, fence)
VALUES ('{STEP}', '{RUN}', 'review', 'approval', 'waiting', 3, 1, 1);
INSERT INTO workflow_tasks (id, workflow_id, step, title, subject, assignee_id, status)
VALUES ('{STEP}', '{RUN}', 'review', 'Review', '{{}}', 'bob', 'open');
INSERT INTO workflow_history (run_id, type, data) VALUES ('{RUN}', 'run.started', '{{}}')
"""


@pytest.fixture
def url(servers: TemporaryServers) -> str:
    name = f"workflow_old_{uuid4().hex}"
    servers.postgres.create_database("old", name)
    found = servers.postgres.get_url("old", name)
    return Settings(database_url=found).get_driver_url("psycopg2")


def upgrade(url: str, revision: str) -> None:
    environment = {**os.environ, "DATABASE_URL": url, "PYTHONPATH": str(SERVICE_FOLDER.parent)}
    command = [sys.executable, "-m", "alembic", "upgrade", revision]
    done = subprocess.run(command, cwd=SERVICE_FOLDER, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_a_database_with_a_waiting_run_is_upgraded(url: str) -> None:
    upgrade(url, "0001")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(BEFORE))

    upgrade(url, "head")

    with engine.connect() as connection:
        step = connection.execute(sa.text("SELECT * FROM workflow_steps")).mappings().one()
        task = connection.execute(sa.text("SELECT * FROM workflow_tasks")).mappings().one()
        versions = sa.text(
            "SELECT version, content, retired_at FROM workflow_definitions ORDER BY version"
        )
        first, second = connection.execute(versions).all()
    engine.dispose()
    assert (str(step["key"]), step["scope"], step["memory"]) == (STEP, "", {"polls": 3})
    assert step["run_at"].year == 9999
    assert (str(task["step_id"]), task["purpose"], task["needed"]) == (STEP, "approval", 1)
    assert (first[0], second[0], second[2]) == (1, 2, None)
    assert second[1]["steps"]["review"]["with"]["version"] == "steps.extract.version"
    builtin = SERVICE_FOLDER / "workflow_service" / "builtin" / "document-review.json"
    assert first[1] == json.loads(Path(builtin).read_text())


BEFORE_ROLES = f"""
INSERT INTO workflow_runs (id, definition_id, definition, version, status, input, trace_id,
                           started_by, depth, size)
SELECT '{RUN}', id, name, 1, 'compensating', '{{}}', 'trace', 'ada', 0, 3
FROM workflow_definitions WHERE version = 1;
INSERT INTO workflow_steps (id, key, run_id, scope, name, kind, memory, status, attempts, fence)
SELECT gen_random_uuid(), gen_random_uuid(), '{RUN}', 'each.3', name, 'wait', '{{}}', 'dead', 1, 1
FROM unnest(ARRAY['review', 'review~undo', 'review~7']) name;
INSERT INTO workflow_history (run_id, type, step_id, step, data)
SELECT '{RUN}', 'step.dead', id, 'each.3/' || name, '{{}}' FROM workflow_steps ORDER BY name;
INSERT INTO workflow_history (run_id, type, data)
VALUES ('{RUN}', 'step.spread', '{{"lanes"\\: 2}}')
"""


def test_older_steps_and_events_are_renamed(url: str) -> None:
    upgrade(url, "0003")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(BEFORE_ROLES))

    upgrade(url, "head")

    with engine.connect() as connection:
        steps = connection.execute(sa.text("SELECT role, name, status FROM workflow_steps"))
        events = connection.execute(sa.text("SELECT type, step, data FROM workflow_history"))
        found = {*map(tuple, steps)}
        history = sorted(map(tuple, events), key=str)
    engine.dispose()
    assert found == {
        ("work", "review", "failed"),
        ("compensation", "review", "failed"),
        ("notice", "review_notice_7", "failed"),
    }
    assert history == [
        ("step.failed", "each.3/review", {"role": "compensation"}),
        ("step.failed", "each.3/review", {}),
        ("step.failed", "each.3/review_notice_7", {"role": "notice"}),
        ("step.fanned_out", None, {"branches": 2}),
    ]
