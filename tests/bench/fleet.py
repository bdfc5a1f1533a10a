"""Measures one run of the orchestrator over a large catalog: by default 10,000 tables.

    tests/bench/run fleet [--tables 10000] [--shapes 20] [--appends 30] [--output FILE]

The catalog is synthetic: PyIceberg makes `--shapes` tables of `--appends` appends each, and every table of the catalog is
one of them under another name. All of their metadata is read for every name. `snowpack serve` syncs the catalog, then the
orchestrator looks at every table and submits one job.

Prints one JSON document: seconds until every table was cached, seconds of the run, what the run found, and peak memory of
the whole process, API, worker and store included. Fails if the run did not look at every table, did not end as
`completed`, or took more memory than the orchestrator function has by default.
"""

import argparse
import json
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import datetime
from pathlib import Path

import pyarrow
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import LongType, NestedField

CATALOG = "bench"
DATABASES = 100
SCHEMA = Schema(NestedField(1, "id", LongType()), NestedField(2, "part", LongType()))
BY_PART = PartitionSpec(PartitionField(source_id=2, field_id=1000, transform=IdentityTransform(), name="part"))
FILES_PER_APPEND = 4
# What the template gives the orchestrator function unless told: OrchestratorMemoryMegabytes.
MEMORY_MIB = 1024
RUN_MEMBERS = ("status", "error", "tables_assessed", "tables_healthy", "jobs_submitted")


def make_shapes(catalog: SqlCatalog, shapes: int, appends: int) -> None:
    catalog.create_namespace("shape")
    rows = pyarrow.table(
        {"id": range(FILES_PER_APPEND), "part": range(FILES_PER_APPEND)}, SCHEMA.as_arrow()
    )
    for number in range(shapes):
        # Every other shape is one file in each partition, with nothing to compact.
        table = catalog.create_table(f"shape.s{number}", SCHEMA, partition_spec=BY_PART)
        for _ in range(appends if number % 2 == 0 else 1):
            table.append(rows)


def name_tables(database: Path, tables: int) -> None:
    """Names every table of the catalog, shapes in turn."""
    with sqlite3.connect(database) as connection:
        shapes = connection.execute("SELECT * FROM iceberg_tables ORDER BY table_name").fetchall()
        columns = [column[1] for column in connection.execute("PRAGMA table_info(iceberg_tables)")]
        namespace, name = columns.index("table_namespace"), columns.index("table_name")
        connection.execute("DELETE FROM iceberg_tables")
        for number in range(tables):
            row = list(shapes[number % len(shapes)])
            row[namespace], row[name] = f"db{number % DATABASES:03}", f"t{number:05}"
            connection.execute(f"INSERT INTO iceberg_tables VALUES ({', '.join('?' * len(row))})", row)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url: str):
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)
    except OSError:
        return None


def peak_memory_mib(process: subprocess.Popen) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def wait(process: subprocess.Popen, seconds: int, found):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            sys.exit(f"snowpack serve ended with {process.returncode}")
        if value := found():
            return value
        time.sleep(0.5)
    sys.exit(f"nothing came within {seconds} s")


def finished_run(url: str, tables: int):
    runs = get(f"{url}/orchestrator/runs") or []
    return next((run for run in runs if run["status"] != "failed" and run["tables_assessed"] >= tables), None)


def seconds_of(run: dict) -> float:
    started, completed = (datetime.fromisoformat(run[name]) for name in ("started_at", "completed_at"))
    return (completed - started).total_seconds()


def measure(folder: Path, options: argparse.Namespace) -> dict:
    address = f"sqlite:///{folder}/catalog.db"
    catalog = SqlCatalog(CATALOG, uri=address, warehouse=f"file://{folder}/warehouse")
    make_shapes(catalog, options.shapes, options.appends)
    name_tables(folder / "catalog.db", options.tables)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        os.environ["SNOWPACK_BIN"], "serve", "--listen", f"127.0.0.1:{port}", "--state", str(folder / "state"),
        "--orchestrate-every", str(options.every), "--catalog", "sql", "--catalog-uri", address,
        "--catalog-name", CATALOG, "--warehouse", f"file://{folder}/warehouse",
    ]  # fmt: skip
    environment = {**os.environ, "SNOWPACK_MAX_SUBMISSIONS": "1", "SNOWPACK_LOG": "warn"}
    started = time.monotonic()
    with subprocess.Popen(command, env=environment) as process:
        try:
            wait(process, 900, lambda: (get(f"{url}/readyz") or {}).get("status") == "ready")
            synced = time.monotonic() - started
            run = wait(process, 1800, lambda: finished_run(url, options.tables - 1))
            return {
                "tables": options.tables,
                "manifests_of_a_table": options.appends,
                "sync_seconds": round(synced, 1),
                "run_seconds": round(seconds_of(run), 1),
                "run": {name: run[name] for name in RUN_MEMBERS},
                "peak_memory_mib": round(peak_memory_mib(process)),
            }
        finally:
            process.terminate()


def complaints(result: dict) -> list[str]:
    """What is wrong with a result, in sentences."""
    status, peak = result["run"]["status"], result["peak_memory_mib"]
    wrong = []
    if status != "completed":
        wrong.append(f"the run ended as {status!r}: {result['run']['error']}")
    if peak > MEMORY_MIB:
        wrong.append(f"{peak} MiB of memory were in use, more than the {MEMORY_MIB} MiB that the function has")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=10_000)
    parser.add_argument("--shapes", type=int, default=20)
    parser.add_argument("--appends", type=int, default=30)
    parser.add_argument("--every", type=int, default=30, help="seconds between runs")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), options)
    text = json.dumps(result, indent=2)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")
    if wrong := complaints(result):
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
