"""What is handed to Spark, done by a real one: the very order and the very script, and their result read back by us."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import check
import snowpack
import tables
from conftest import sqlite_catalog
from lake import Catalog, Table

# The options whose names Spark spells with underscores.
_UNDERSCORED = {"sort_order", "older_than", "retain_last", "snapshot_ids", "spec_id"}
_SCRIPT = Path(__file__).resolve().parents[2] / "shared/spark/src/run.py"


def _handover(*words: str, said: str | None = None) -> str:
    """One end of a hand-over; built as an example beside the binary under test."""
    path = snowpack.binary().parent / "examples/handover"
    assert path.exists(), f"{path} is not there: cargo build --release -p snowpack-spark --examples"
    done = subprocess.run([path, *words], input=said, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _run_script(folder: Path, order: str) -> Path:
    """Runs the script as spark-submit would, in the session that is there."""
    (folder / "order.json").write_text(order)
    output = folder / "output.json"
    output.unlink(missing_ok=True)
    given, sys.argv = sys.argv, [str(_SCRIPT), f"file://{folder}/order.json", f"file://{output}"]
    try:
        runpy.run_path(str(_SCRIPT), run_name="__main__")
    finally:
        sys.argv = given
    return output


def hand_over(folder: Path, table: Table, action: str, **options: object) -> dict:
    """The whole way: order, script, result."""
    pairs = [f"{name if name in _UNDERSCORED else name.replace('_', '-')}={value}" for name, value in options.items()]
    order = _handover("order", table.name, action, *pairs)
    output = _run_script(folder, order)
    return json.loads(_handover("result", action, said=output.read_text()))


@pytest.fixture(scope="session")
def handed(session, scratch: Path) -> Catalog:
    """A catalog under the name that orders use."""
    return sqlite_catalog(session, scratch, "snowpack")


@pytest.mark.parametrize("file_format", ["orc", "avro", "parquet"])
def test_a_rewrite_by_spark_says_and_signs_what_ours_would(handed: Catalog, tmp_path: Path, file_format: str):
    table = tables.unpartitioned(handed, f"handover.{file_format}", **{"write.format.default": file_format})
    if file_format != "parquet":
        snowpack.run(table, "rewrite_data_files").failed()
    before = check.take(table)
    told = hand_over(tmp_path, table, "rewrite_data_files")
    assert told["message"] == "Compacted 24 files into 1 files"
    assert (told["metrics"]["files_in"], told["metrics"]["files_out"], told["metrics"]["spark_runs"]) == (24, 1, 1)
    check.same_rows(table, before)
    summary = check.current_summary(table)
    assert summary["snowpack.job-id"] == f"{7:032x}"
    assert (summary["snowpack.action"], summary["snowpack.fence"]) == ("rewrite_data_files", "3")
    assert summary["snowpack.target-file-size-bytes"] == str(512 << 20)
    again = hand_over(tmp_path, table, "rewrite_data_files")
    assert again["message"].startswith("Spark rewrote no data file")
    table.insert("select id, 'x' as name, 1.0 as ratio from range(3)")
    assert "snowpack.job-id" not in check.current_summary(table), "others' snapshots are theirs"


@pytest.mark.parametrize("options", [
    {"sort_order": "name DESC NULLS LAST, id"},
    {"strategy": "zorder", "sort_order": "id, ratio"},
    {"where": "name = 'it\\'s' or id < 400 or name = '${spark.app.name} \\\\ \u65e5\u672c \"; drop'"},
    {"target_file_size_bytes": 12_000, "max_files_to_rewrite": 20, "rewrite_job_order": "files-desc",
     "partial_progress.max_commits": 2, "max_concurrent_file_group_rewrites": 1, "remove_dangling_deletes": "true",
     "use_starting_sequence_number": "false", "output_spec_id": 0, "partial_progress.max_failed_commits": 3},
], ids=["sort", "zorder", "where", "everything"])
def test_options_reach_spark(handed: Catalog, tmp_path: Path, options: dict):
    table = tables.unpartitioned(handed, f"handover.options_{abs(hash(str(options)))}")
    before = check.take(table)
    told = hand_over(tmp_path, table, "rewrite_data_files", **options)
    assert told["message"].startswith("Compacted "), told
    check.same_rows(table, before)
    check.sound(table)


def test_the_other_procedures_take_their_arguments(handed: Catalog, tmp_path: Path):
    table = handed.create("handover.others", "id bigint, c string", "c", **tables.MERGE_ON_READ)
    for start in range(0, 400, 100):
        table.insert(f"select id, 'a' as c from range({start}, {start} + 100)")
        table.sql(f"delete from {{t}} where id = {start} + 1")
    before = check.take(table)
    packed = hand_over(tmp_path, table, "rewrite_position_delete_files", min_input_files=2)
    assert packed["metrics"]["files_in"] == 4, packed
    assert packed["message"].startswith("Rewrote 4 position delete files into ")
    manifests = hand_over(tmp_path, table, "rewrite_manifests", spec_id=0)
    assert manifests["message"].startswith("Rewrote "), manifests
    check.same_rows(table, before)
    oldest = table.sql("select snapshot_id from {t}.snapshots order by committed_at limit 1").collect()[0][0]
    expired = hand_over(tmp_path, table, "expire_snapshots", older_than="1990-01-01T00:00:00Z", retain_last=99,
                        snapshot_ids=oldest)
    assert (expired["metrics"]["snapshots"], expired["message"][:19]) == (1, "Expired 1 snapshots"), expired
    rest = hand_over(tmp_path, table, "expire_snapshots", older_than="2100-01-01T00:00:00Z", retain_last=1)
    assert rest["metrics"]["snapshots"] > 1
    check.same_rows(table, before, kept=[])


def test_an_error_of_spark_is_told_in_its_words(handed: Catalog, tmp_path: Path):
    order = _handover("order", "handover.absent", "rewrite_data_files")
    with pytest.raises(Exception):
        _run_script(tmp_path, order)
    left = json.loads((tmp_path / "output.json").read_text())
    assert "absent" in left["error"], left


def test_locally_a_table_that_asks_for_spark_is_refused_in_words(handed: Catalog):
    table = tables.unpartitioned(handed, "handover.local", **{"snowpack.engine": "spark"})
    before = check.footprint(table)
    outcome = snowpack.run(table, "rewrite_data_files").failed()
    assert "snowpack.engine" in outcome.said and "Spark" in outcome.said
    assert check.footprint(table) == before
    table.sql("alter table {t} set tblproperties ('snowpack.engine' = 'auto')")
    snowpack.run(table, "rewrite_data_files").completed()
