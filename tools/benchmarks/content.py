"""Measures requests among a thousand, a hundred thousand and a million documents, in one run.

There are three databases, each with one user who may see everything, and a server for each on the
same core. Searches run one at a time, everything else 32 at once.
"""

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing
from uuid import UUID

import psycopg2  # type: ignore[import-untyped]
from pydantic import TypeAdapter

from chassis.pagination import encode_cursor
from tools.benchmarks.auth import OVERRIDES, prepare
from tools.benchmarks.harness.bars import Bar, get_latency, get_rate, report
from tools.benchmarks.harness.load import Result, run_load
from tools.benchmarks.harness.stack import run_measured_server, run_stack
from tools.localdev.services import ROOT
from tools.localdev.stack import LocalDevStack

SIZES = {"1k": 1_000, "100k": 100_000, "1M": 1_000_000}
ROUNDS = 3
SECONDS = 1.0
NEW = b'{"title": "A new report", "body": "%s"}' % (b"On the Analytical Engine. " * 10)

# Four of five documents contain a common word, five a rare one, and each has thirty of twenty
# thousand other words. The search index and the foreign key are created after the rows.
FILL = """
SET maintenance_work_mem = '512MB';
DROP INDEX ix_content_documents_search;
ALTER TABLE content_access DROP CONSTRAINT content_access_document_id_fkey;
CREATE FUNCTION bench_id(n int) RETURNS uuid LANGUAGE sql IMMUTABLE RETURN
    ('0190' || lpad(to_hex(n), 8, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid;
CREATE TABLE bench_text AS
SELECT part, string_agg('w' || (part * 30 + word) * 7919 % 20011, ' ') AS words
FROM generate_series(0, 999) part, generate_series(0, 29) word GROUP BY part;
INSERT INTO content_documents (id, owner_id, title, body, tags, content_type, size, sha256, version,
                               created_at, updated_at)
SELECT bench_id(n), '{user}', 'Report ' || n,
       words || CASE WHEN n % 5 < 4 THEN ' common' ELSE '' END
       || CASE WHEN n % ({count} / 5) = 0 THEN ' rarissimum' ELSE '' END,
       array['bench'], 'text/plain', 200, md5(n::text), 1, now(), now()
FROM generate_series(1, {count}) n JOIN bench_text ON part = n % 1000;
INSERT INTO content_access (grantee, document_id, level, granted_by, granted_at)
SELECT 'user:{user}', id, 'manage', owner_id, now() FROM content_documents;
CREATE INDEX ix_content_documents_search ON content_documents USING gin (search)
    WITH (fastupdate = off);
ALTER TABLE content_access ADD CONSTRAINT content_access_document_id_fkey
    FOREIGN KEY (document_id) REFERENCES content_documents;
VACUUM ANALYZE content_documents;
VACUUM ANALYZE content_access
"""

Results = dict[tuple[str, str], list[Result]]


def main() -> None:
    with run_stack(OVERRIDES) as stack, ExitStack() as servers:
        token, user_id, _ = prepare(stack)
        os.environ["BENCH_USER_ID"] = user_id
        urls = {}
        for size, count in SIZES.items():
            print(f"filling a database with {count:,} documents", flush=True)
            database = fill_database(stack, f"bench_{size.lower()}", count, user_id)
            app = "tools.benchmarks.content_server:app"
            server = run_measured_server(stack, "content", app, DATABASE_URL=database)
            urls[size] = servers.enter_context(server)
        results = measure(urls, {"Authorization": f"Bearer {token}"})
    print_results(results)
    report(list(build_bars(results)))


def fill_database(stack: LocalDevStack, database: str, count: int, user_id: str) -> str:
    """Create a database with `count` documents of one user, and return its URL."""
    url = stack.layout.postgres.create_database("content", database)
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    environment = {**os.environ, "DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=ROOT / "content-service", env=environment, check=True)
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True  # for VACUUM
        for statement in FILL.format(count=count, user=user_id).split(";\n"):
            connection.cursor().execute(statement)
    return url


def measure(urls: dict[str, str], headers: dict[str, str]) -> Results:
    results: Results = defaultdict(list)
    for number in range(ROUNDS + 1):
        print(f"round {number} of {ROUNDS}" if number else "warming up", flush=True)
        for size, url in urls.items():
            for name, path, body, many in list_cases(SIZES[size]):
                result = run_load(url + path, headers, seconds=SECONDS, connections=many, body=body)
                if result.failures:
                    sys.exit(f"{name} at {size}: {result.failures} requests failed")
                if number:
                    results[name, size].append(result)
    return results


def list_cases(count: int) -> Iterator[tuple[str, str, bytes | None, int]]:
    """List name, path, body and connections. Page 1,000 is the last one of a small database."""
    documents = "/api/v1/documents"
    middle = make_document_id(count // 2)
    cursor = encode_cursor(TypeAdapter(UUID), make_document_id(max(1, count - 999 * 50) + 50))
    yield "page 1", documents, None, 32
    yield "page 1,000", f"{documents}?cursor={cursor}", None, 32
    yield "page as objects", "/bench/orm", None, 32
    yield "read", f"{documents}/{middle}", None, 32
    yield "read with auth", f"/bench/protected/{middle}", None, 32
    yield "read without auth", f"/bench/unprotected/{middle}", None, 32
    yield "rare word", "/api/v1/search?q=rarissimum", None, 1
    yield "common word", "/api/v1/search?q=common", None, 1
    yield "insert", documents, NEW, 32
    yield "bare insert", "/bench/bare", NEW, 32


def make_document_id(number: int) -> UUID:
    """Make the same id as bench_id in FILL."""
    return UUID(f"0190{number:08x}70008000{number:012x}")


def print_results(results: Results) -> None:
    print(f"\n{'case':<20}{'documents':<10}{'req/s':>8}{'p50 ms':>9}{'p95 ms':>9}")
    for (name, size), runs in sorted(results.items()):
        p50 = get_latency(runs, 50)
        p95 = get_latency(runs, 95)
        print(f"{name:<20}{size:<10}{get_rate(runs):>8.0f}{p50:>9.1f}{p95:>9.1f}")
    print()


def build_bars(results: Results) -> Iterator[Bar]:
    def compare(one: str, other: str, size: str = "1M") -> float:
        return get_rate(results[one, size]) / get_rate(results[other, "1M"])

    rare, common = (get_latency(results[f"{what} word", "1M"], 95) for what in ("rare", "common"))
    yield Bar("page-1-of-page-1000", compare("page 1", "page 1,000"), 1.3, is_maximum=True)
    yield Bar("list-1k-of-1M", compare("page 1", "page 1", "1k"), 1.5, is_maximum=True)
    yield Bar("read-1k-of-1M", compare("read", "read", "1k"), 1.5, is_maximum=True)
    yield Bar("rare-word-p95-ms", rare, 20, is_maximum=True)
    yield Bar("common-word-p95-ms", common, 50, is_maximum=True)
    yield Bar("page-of-orm", compare("page 1", "page as objects"), 1.8)
    yield Bar("read-of-no-auth", compare("read with auth", "read without auth"), 0.9)
    yield Bar("insert-of-bare", compare("insert", "bare insert"), 0.5)


if __name__ == "__main__":
    main()
