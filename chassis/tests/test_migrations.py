"""Migrations: several at once, and twice."""

import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa

from tools.localdev.services import ROOT

ENV = """
from sqlalchemy import MetaData
from chassis.migrations import run_migrations
run_migrations("{url}", MetaData())
"""

FIRST = """
import time
import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None

def upgrade():
    op.create_table("migrated_once", sa.Column("id", sa.Integer))
    time.sleep(0.5)
"""


def test_several_at_once_wait_for_the_first(
    engine: sa.Engine, database_url: str, tmp_path: Path
) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE IF EXISTS alembic_version, migrated_once"))
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
    (tmp_path / "migrations" / "env.py").write_text(ENV.format(url=database_url))
    (versions / "0001_first.py").write_text(FIRST)

    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    processes = [
        subprocess.Popen(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}) for _ in range(2)
    ]

    assert [process.wait(30) for process in processes] == [0, 0]
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == "0001"
        assert connection.scalar(sa.text("SELECT count(*) FROM migrated_once")) == 0
