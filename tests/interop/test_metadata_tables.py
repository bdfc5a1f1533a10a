"""What snowpack reports of an action is what Spark's metadata tables show."""

import json

import pytest

import snowpack
import tables
from lake import Catalog, Table


def live(table: Table) -> dict[str, int]:
    """Counts of the current snapshot by Spark's metadata tables, each from a table of its own."""
    content = {row.content: row for row in table.sql(
        "select content, count(*) as files, sum(record_count) as rows, sum(file_size_in_bytes) as bytes from {t}.files group by content"
    ).collect()}
    manifests = table.metadata_table("manifests")
    entries = table.sql("select count(*) from {t}.entries where status < 2").first()[0]
    found = {
        "data files": content[0].files, "rows": content[0].rows, "bytes": content[0].bytes,
        "delete files": sum(row.files for kind, row in content.items() if kind > 0), "manifests": len(manifests),
        "snapshots": len(table.metadata_table("snapshots")), "all entries": len(table.metadata_table("all_entries", "status")),
        "all files": table.sql("select count(distinct file_path) from {t}.all_files").first()[0],
    }
    counted = sum(
        row.added_data_files_count + row.existing_data_files_count + row.added_delete_files_count + row.existing_delete_files_count
        for row in manifests)
    assert found["data files"] + found["delete files"] == entries == counted
    return found


def metrics(outcome: snowpack.Outcome) -> dict:
    (result,) = outcome.completed().results
    return result["metrics"]


def change(before: dict[str, int], after: dict[str, int], name: str) -> int:
    return after[name] - before[name]


@pytest.mark.parametrize(
    "build", [tables.unpartitioned, tables.by_identity, tables.position_deletes_by_file, tables.position_deletes_by_partition,
              tables.evolved_spec, tables.upgraded], ids=lambda build: build.__name__)
def test_a_rewrite_of_data_files(lake: Catalog, build: tables.Builder):
    table = build(lake, f"metadata_tables.{build.__name__}")
    before, snapshots = live(table), set(table.metadata_table("snapshots", "snapshot_id"))
    said = metrics(snowpack.compact(table))
    after = live(table)
    assert said["files_out"] - said["files_in"] == change(before, after, "data files")
    assert said["rows_out"] - said["rows_in"] == change(before, after, "rows") == -said["rows_deleted"]
    assert said["bytes_out"] - said["bytes_in"] == change(before, after, "bytes")
    assert said["delete_files_removed"] == -change(before, after, "delete files")
    assert said["commits"] == change(before, after, "snapshots")
    new = [row.snapshot_id for row in set(table.metadata_table("snapshots", "snapshot_id")) - snapshots]
    listed = ", ".join(map(str, new))
    entries = table.sql(
        f"select distinct status, snapshot_id, data_file.file_path, data_file.content from {{t}}.all_entries where snapshot_id in ({listed})").collect()
    added = [row for row in entries if row.status == 1]
    removed = [row for row in entries if row.status == 2]
    assert len(added) == said["files_out"]
    assert len(removed) == said["files_in"] + said["delete_files_removed"]


def test_expired_snapshots(lake: Catalog):
    table = tables.position_deletes_by_file(lake, "metadata_tables.expired")
    snowpack.compact(table).completed()
    before = live(table)
    said = metrics(snowpack.run(table, "expire_snapshots", options={"older_than": "9999-01-01T00:00:00Z", "retain_last": 1}))
    after = live(table)
    assert said["snapshots"] == -change(before, after, "snapshots")
    assert said["data_files"] + said["delete_files"] == -change(before, after, "all files")
    assert {name: after[name] for name in ("data files", "rows", "manifests")} == {
        name: before[name] for name in ("data files", "rows", "manifests")}


def test_rewritten_manifests(lake: Catalog):
    table = tables.by_identity(lake, "metadata_tables.manifests")
    for _ in range(4):
        table.sql("insert into {t} select * from {t} limit 1")
    before = live(table)
    said = metrics(snowpack.run(table, "rewrite_manifests"))
    after = live(table)
    assert said["manifests_out"] - said["manifests_in"] == change(before, after, "manifests") < 0, json.dumps(said)
    assert change(before, after, "data files") == 0 and change(before, after, "snapshots") == 1
    rewritten = table.sql("select sum(added_data_files_count + existing_data_files_count) from {t}.manifests").first()[0]
    assert said["entries"] <= rewritten


def test_rewritten_position_deletes(lake: Catalog):
    table = tables.position_deletes_by_file(lake, "metadata_tables.positions")
    before = live(table)
    said = metrics(snowpack.run(table, "rewrite_position_delete_files", options={"rewrite-all": "true"}))
    after = live(table)
    assert change(before, after, "delete files") == said["files_out"] - said["files_in"], json.dumps(said)
    assert change(before, after, "data files") == change(before, after, "rows") == 0
