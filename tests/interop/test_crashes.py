"""The local server killed at every named point of a job: after a restart the job ends and the table is as it was."""

from pathlib import Path

import pytest

import check
import tables
from lake import Catalog, Table
from server import Server
from test_remove_orphan_files import age_all, removed_by_spark, removed_by_us

POINTS = ["after-claim", "mid-read", "files-written", "before-verify", "before-commit", "after-commit", "mid-delete"]
LEAVES_FILES = ["files-written", "before-verify", "before-commit"]
ACTIONS = ["rewrite_data_files", "expire_snapshots"]
# Everything but the current snapshot expires, so that there are files to delete.
OPTIONS = {
    "rewrite_data_files": {"rewrite-all": True, "verify": "content"},
    "expire_snapshots": {"older_than": "2100-01-01T00:00:00+00:00", "retain_last": 1},
}


def written(lake: Catalog, point: str) -> Table:
    name = f"crashes.{point.replace('-', '_')}"
    table = lake.create(name, "id bigint, part int, v string", "part", **tables.MERGE_ON_READ)
    for start in (0, 1000):
        table.insert(f"select id + {start}, cast(id % 2 as int), uuid() from range(1000)", 2)
    table.sql("delete from {t} where id % 7 = 3")
    return table


@pytest.mark.parametrize("point", POINTS)
def test_a_server_killed_anywhere_ends_its_job_after_a_restart(lake: Catalog, tmp_path: Path, point: str):
    table = written(lake, point)
    before, files = check.take(table), table.data_files()
    with Server(table.catalog, tmp_path / "state", crash_at=point) as server:
        job_id = server.submit(table.name, *ACTIONS, options=OPTIONS)
        assert server.was_killed()
    check.sound(table)
    with Server(table.catalog, tmp_path / "state") as server:
        job = server.wait(job_id)
        assert job["status"] == "completed", job
        assert [result["action"] for result in job["results"]] == ACTIONS
        rewritten, expired = job["results"]
        assert rewritten["message"].startswith("Compacted "), rewritten
        # A result tells of both attempts.
        numbers = expired["metrics"]
        assert expired["message"] == f"Expired {numbers['snapshots']} snapshots", expired
        assert numbers["snapshots"] >= len(before.snapshots), expired
        assert numbers["data_files"] == len(files), expired
        assert job["attempt"] == 2
        status, again = server.request("POST", f"/jobs/{job_id}/cancel")
        assert status == 409, again
    check.same_rows(table, before, kept=[])
    check.sound(table)
    assert len(table.data_files()) == 2
    # All that is left over was written and never committed: orphan removal takes it. What a dead worker was still to
    # delete, the next one has deleted.
    age_all(table)
    orphans = removed_by_spark(table)
    assert removed_by_us(table) <= orphans
    if point in LEAVES_FILES:
        assert orphans
    if point in ("after-claim", "mid-delete"):
        assert not orphans
