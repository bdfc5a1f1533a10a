"""Runs each action on each kind of table, and Spark's procedure of the same name on an identical copy.

    tests/bench/run actions [--kind KIND] [--action ACTION] [--output FILE]

Prints a Markdown table: what each leaves of the table, how long it took, and its memory at most. Snowpack's time is of
the whole process; Spark's of the call alone, in a JVM that has been running for a while. Rows are compared in every
snapshot both keep. Each table has about 700,000 rows of six columns, in two to three hundred files.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop"))

import psutil

import content
import history
import snowpack
import spark as spark_setup
from java_writer import JavaWriter
from lake import Catalog, Table

CATALOG = "bench_catalog"
SPARK_MEMORY = "6g"
COMMITS = 12
ROWS_PER_COMMIT = 60_000
# Older than the floor under which no file counts as an orphan.
ORPHAN_AGE_SECONDS = 5 * 86_400
ORPHANS = 200

_COLUMNS = "id int, day date, name string, price decimal(12, 2), ratio double, note string"
_ROWS = """select cast(id as int), date_add(date '2024-01-01', cast(id % 60 as int)), concat('name ', id % 1000),
    cast(id / 100 as decimal(12, 2)), id / 7, sha2(cast(id as string), 256) from range({0}, {1})"""


def appended(catalog: Catalog, name: str, version: int, partitioned: str = "bucket(8, id)") -> Table:
    """Commits of small files, the oldest of them a month ago, beside files that no metadata names."""
    properties = {f"write.{command}.mode": "merge-on-read" for command in ("delete", "update", "merge")}
    table = catalog.create(name, _COLUMNS, partitioned, **properties, **{"format-version": str(version)})
    for commit in range(COMMITS):
        rows = _ROWS.format(commit * ROWS_PER_COMMIT, (commit + 1) * ROWS_PER_COMMIT)
        table.insert(rows, 2 if partitioned else 16)
    return table


def deleted(table: Table) -> Table:
    """A row in twenty, in six commits."""
    for remainder in range(6):
        table.sql(f"delete from {{t}} where id % 120 = {remainder * 7}")
    return table


def version_1(catalog: Catalog, name: str) -> Table:
    return appended(catalog, name, 1)


def version_2(catalog: Catalog, name: str) -> Table:
    return appended(catalog, name, 2)


def unpartitioned(catalog: Catalog, name: str) -> Table:
    return appended(catalog, name, 2, "")


def position_deletes(catalog: Catalog, name: str) -> Table:
    return deleted(appended(catalog, name, 2))


def equality_deletes(catalog: Catalog, name: str) -> Table:
    table = appended(catalog, name, 2, "")
    java = JavaWriter(table)
    for start in range(0, 60):
        java.commit(deletes=[java.equality_delete(["id"], [(id,) for id in range(start, 20_000, 60)])])
    return table


def deletion_vectors(catalog: Catalog, name: str) -> Table:
    return deleted(appended(catalog, name, 3))


def upgraded(catalog: Catalog, name: str) -> Table:
    """Position deletes from before the table became one of version 3."""
    table = deleted(appended(catalog, name, 2))
    table.sql("alter table {t} set tblproperties ('format-version' = '3')")
    return table


KINDS = [version_1, version_2, unpartitioned, position_deletes, equality_deletes, deletion_vectors, upgraded]
# Spark is told our defaults where they differ, so that both have the same task.
ACTIONS = {
    "rewrite_data_files": """options => map('delete-file-threshold', '2', 'delete-ratio-threshold', '0.1',
        'remove-dangling-deletes', 'true', 'partial-progress.enabled', 'true')""",
    "rewrite_position_delete_files": "options => map('rewrite-all', 'true')",
    "expire_snapshots": "retain_last => 3",
    "rewrite_manifests": "use_caching => false",
    "remove_orphan_files": "",
}
OPTIONS = {"rewrite_position_delete_files": {"rewrite-all": "true"}}


def add_orphans(table: Table) -> None:
    folder = table.folder() / "data"
    for index in range(ORPHANS):
        path = folder / f"orphan-{index}.parquet"
        path.write_bytes(bytes(10_000))
        os.utime(path, (time.time() - ORPHAN_AGE_SECONDS,) * 2)


def state(table: Table) -> dict:
    """What is left, as Spark's metadata tables and the folder show it."""
    counted = {"files": "data_files", "deletes": "delete_files", "manifests": "manifests", "snapshots": "snapshots"}
    found = {key: table.metadata_table(name, "count(*)")[0][0] for key, name in counted.items()}
    on_disk = table.files()
    return found | {"stored": len(on_disk), "mb": round(sum(on_disk.values()) / 1e6, 1)}


def by_snowpack(table: Table, action: str) -> dict:
    started = time.monotonic()
    words = snowpack.command(table, action, options=OPTIONS.get(action))
    process = subprocess.Popen(words, stdout=subprocess.PIPE)
    answer = json.load(process.stdout)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    said = answer["results"][0]
    if status:
        return {"said": said["error"]}
    return state(table) | {"seconds": round(seconds, 2), "mib": usage.ru_maxrss // 1024, "said": said["message"]}


def by_spark(table: Table, action: str) -> dict:
    jvm = psutil.Process(table.catalog.session._jvm.java.lang.ProcessHandle.current().pid())
    # Forgets the highest memory seen, so that the next reading is of this call.
    Path(f"/proc/{jvm.pid}/clear_refs").write_text("5")
    arguments = ", ".join(filter(None, ["table => '{name}'", ACTIONS[action]]))
    started = time.monotonic()
    try:
        table.sql(f"call {{system}}.{action}({arguments})").collect()
    except Exception as error:
        return {"said": str(error).splitlines()[0]}
    seconds = time.monotonic() - started
    status = Path(f"/proc/{jvm.pid}/status").read_text()
    peak_kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return state(table) | {"seconds": round(seconds, 2), "mib": peak_kib // 1024}


def contend(table: Table, action: str) -> dict:
    """Both on identical copies."""
    rows = content.rows_by_snapshot(table)
    current = rows[table.java().currentSnapshot().snapshotId()]
    report = {"action": action, "kind": table.name.partition(".")[2], "before": state(table)}
    for name, contender in {"snowpack": by_snowpack, "spark": by_spark}.items():
        with table.rewound():
            report[name] = contender(table, action)
            # A snapshot that the action added holds the rows of the one before it.
            left = content.rows_by_snapshot(table)
            report[name]["same_rows"] = all(rows.get(id, current) == digest for id, digest in left.items())
    return report


COUNTS = ["files", "deletes", "manifests", "snapshots", "stored", "mb", "seconds", "mib"]


def markdown(reports: list[dict]) -> str:
    head = ["action", "table", "by", *COUNTS, "same rows"]
    lines = [head, ["---"] * len(head)]
    for report in reports:
        lines.append([report["action"], report["kind"], "before", *_cells(report["before"]), ""])
        for name in ("snowpack", "spark"):
            same = "yes" if report[name].get("same_rows") else "NO"
            lines.append(["", "", name, *_cells(report[name]), same])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(figures: dict) -> list[str]:
    return [str(figures.get(key, "")) for key in COUNTS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=[kind.__name__ for kind in KINDS])
    parser.add_argument("--action", choices=list(ACTIONS))
    parser.add_argument("--output", type=Path, help="also write the measurements here, as JSON")
    given = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="snowpack-bench-"))
    session = spark_setup.start(scratch / "spark", SPARK_MEMORY)
    database = scratch / "catalog.db"
    spark_setup.create_sqlite(database)
    warehouse = f"file://{scratch}/warehouse"
    spark_setup.open_sqlite(session, CATALOG, database, warehouse)
    flags = ["--catalog", "sql", "--catalog-uri", f"sqlite:///{database}", "--catalog-name", CATALOG]
    catalog = Catalog(session, CATALOG, scratch, [*flags, "--warehouse", warehouse], database)
    reports = []
    for kind in KINDS:
        if given.kind not in (None, kind.__name__):
            continue
        print(f"making {kind.__name__}", file=sys.stderr)
        table = kind(catalog, f"bench.{kind.__name__}")
        table.edit_metadata(history.spread_over_days)
        add_orphans(table)
        for action in ACTIONS:
            if given.action in (None, action):
                reports.append(contend(table, action))
                print(json.dumps(reports[-1]), file=sys.stderr)
    shutil.rmtree(scratch)
    print(markdown(reports))
    if given.output:
        given.output.write_text(json.dumps(reports, indent=2) + "\n")


if __name__ == "__main__":
    main()
