"""Times `snowpack run` beside Spark's own procedure on identical copies of one badly kept table.

    tests/bench/run [--scale 6] [--commits 24] [--only snowpack|spark] [--output FILE]

The table is TPC-H lineitem, partitioned by month of l_shipdate and written by Spark in as many commits as given, each
of which leaves one small zstd file in each of 84 months: by default 2,016 files and about 1 GiB. It is made once (some
minutes) and kept in $SNOWPACK_TEST_HOME/bench, where it takes about 2 GiB; each contender works on hard links of it.

Prints one JSON document. Of Spark, `wall_seconds` and `cpu_seconds` are of the call alone, in a fresh JVM with all
cores; the start of the JVM is not counted, its memory is. The table's files are in the page cache for both.
"""

import argparse
import dataclasses
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop"))

import psutil

import content
import snowpack
import spark as spark_setup
from lake import Catalog, Table

# Unlike the namespace, or Spark would take the one for the other.
CATALOG = "bench_catalog"
TABLE = "bench.lineitem"
SPARK_MEMORY = "8g"
ACTION = "rewrite_data_files"


@dataclass(frozen=True)
class Workspace:
    """The folder of one table: `table` is worked on, `kept` is what it is put back from."""

    home: Path

    @property
    def work(self) -> Path:
        # Metadata names files by absolute path, so work is always done in the same place.
        return self.home / "table"

    @property
    def kept(self) -> Path:
        return self.home / "kept"

    def reset(self) -> None:
        """Hard links are enough, as table files are immutable; the catalog file is not, and is copied."""
        def place(source: str, target: str) -> None:
            (shutil.copy2 if source.endswith("catalog.db") else os.link)(source, target)

        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.kept, self.work, copy_function=place)

    def table(self, session=None) -> Table:
        database, warehouse = self.work / "catalog.db", f"file://{self.work}/warehouse"
        if session:
            spark_setup.open_sqlite(session, CATALOG, database, warehouse)
        flags = ["--catalog", "sql", "--catalog-uri", f"sqlite:///{database}", "--catalog-name", CATALOG]
        return Table(Catalog(session, CATALOG, self.work, [*flags, "--warehouse", warehouse], database), TABLE)


def lineitem(scale: float) -> Path:
    """TPC-H lineitem as plain Parquet."""
    folder = spark_setup.test_home() / "bench" / f"tpch-{scale:g}"
    if not folder.exists():
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        generator = Path(sys.executable).with_name("tpchgen-cli")
        words = [generator, "parquet", "-s", f"{scale:g}", "--tables=lineitem", "-o", unfinished]
        subprocess.run(words, check=True, stdout=sys.stderr)
        unfinished.rename(folder)
    return folder


def make(workspace: Workspace, scale: float, commits: int) -> None:
    """Writes the table and keeps it, with its rows and files noted beside it."""
    source = lineitem(scale)
    shutil.rmtree(workspace.home, ignore_errors=True)
    workspace.work.mkdir(parents=True)
    spark_setup.create_sqlite(workspace.work / "catalog.db")
    session = spark_setup.start(workspace.home / "scratch", SPARK_MEMORY)
    table = workspace.table(session)
    frame = session.read.parquet(str(source))
    frame.createOrReplaceTempView("source")
    columns = ", ".join(f"{field.name} {field.dataType.simpleString()}" for field in frame.schema)
    # Distribution by partition gives one file a month and commit.
    table.catalog.create(table.name, columns, "months(l_shipdate)", **{"write.distribution-mode": "hash"})
    for turn in range(commits):
        table.sql(f"insert into {{t}} select * from source where pmod(xxhash64(l_orderkey), {commits}) = {turn}")
    facts = inspect_table(table)
    session.stop()
    (workspace.home / "facts.json").write_text(json.dumps(facts))
    workspace.work.rename(workspace.kept)


def inspect_table(table: Table) -> dict:
    """Rows and live files, as Spark sees them."""
    columns = "count(*) as files, sum(file_size_in_bytes) as bytes, max(file_size_in_bytes) as largest"
    (files,) = table.metadata_table("data_files", columns)
    return {"rows": dataclasses.asdict(content.current_rows(table)), "data_files": files.asDict()}


def inspect(workspace: Workspace) -> dict:
    return inspect_table(workspace.table(spark_setup.start(workspace.home / "scratch", SPARK_MEMORY)))


def by_spark(workspace: Workspace) -> dict:
    session = spark_setup.start(workspace.home / "scratch", SPARK_MEMORY)
    table = workspace.table(session)
    jvm = psutil.Process(session._jvm.java.lang.ProcessHandle.current().pid())
    cpu = sum(jvm.cpu_times()[:2])
    started = time.monotonic()
    table.sql(f"call {{system}}.{ACTION}(table => '{{name}}')").collect()
    wall = time.monotonic() - started
    cpu = sum(jvm.cpu_times()[:2]) - cpu
    # Read before anything else runs in this JVM.
    status = Path(f"/proc/{jvm.pid}/status").read_text()
    peak_kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return figures(wall, cpu, peak_kib)


def by_snowpack(workspace: Workspace) -> dict:
    started = time.monotonic()
    process = subprocess.Popen(snowpack.command(workspace.table(), ACTION), stdout=subprocess.PIPE)
    answer = json.load(process.stdout)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    assert status == 0, answer
    return figures(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)


def figures(wall_seconds: float, cpu_seconds: float, peak_kib: int) -> dict:
    return {"wall_seconds": round(wall_seconds, 2), "cpu_seconds": round(cpu_seconds, 2), "peak_mib": peak_kib // 1024}


def in_child(function, *arguments):
    """Calls in a process of its own, so that no JVM stays behind to take memory and cores."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_picklable, (function, *arguments))


def _picklable(function, *arguments):
    try:
        return function(*arguments)
    except Exception:
        # Java's exceptions hold a connection and cannot leave the process.
        raise RuntimeError(traceback.format_exc()) from None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=6, help="TPC-H scale factor")
    parser.add_argument("--commits", type=int, default=24, help="commits of 84 files each")
    parser.add_argument("--only", choices=["snowpack", "spark"])
    parser.add_argument("--output", type=Path, help="also write the JSON here")
    given = parser.parse_args()
    workspace = Workspace(spark_setup.test_home() / "bench" / f"lineitem-{given.scale:g}-{given.commits}")
    if not workspace.kept.exists():
        print(f"making the table in {workspace.home}", file=sys.stderr)
        in_child(make, workspace, given.scale, given.commits)
    before = json.loads((workspace.home / "facts.json").read_text())
    report = {"table": before, "cores": os.cpu_count()}
    for name, contend in {"snowpack": by_snowpack, "spark": by_spark}.items():
        if given.only in (None, name):
            print(f"compacting with {name}", file=sys.stderr)
            workspace.reset()
            measured = in_child(contend, workspace)
            after = in_child(inspect, workspace)
            report[name] = measured | {"data_files": after["data_files"], "same_rows": after["rows"] == before["rows"]}
    if not given.only:
        report["spark_over_snowpack"] = {
            key: round(report["spark"][key] / report["snowpack"][key], 1)
            for key in ("wall_seconds", "cpu_seconds", "peak_mib")
        }
    shutil.rmtree(workspace.work)
    text = json.dumps(report, indent=2)
    print(text)
    if given.output:
        given.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
