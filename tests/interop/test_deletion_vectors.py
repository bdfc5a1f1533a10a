"""rewrite_position_delete_files in format version 3: position-delete files become deletion vectors, Puffin files are
merged, and Spark reads, deletes and maintains on."""

import itertools
import json
import struct

import pytest

import check
import snowpack
import tables
from java_writer import JavaWriter
from lake import Catalog, Table, local_path

ACTION = "rewrite_position_delete_files"
_serial = itertools.count()


def convert(table: Table, **options: object) -> snowpack.Outcome:
    """Runs the action; option names with `_` for `-`."""
    return snowpack.run(table, ACTION, options={key.replace("_", "-"): value for key, value in options.items()})


def position_deletes(table: Table) -> list:
    """The live position-delete files and vectors."""
    return table.metadata_table("delete_files where content = 1")


def puffin_files(table: Table) -> set[str]:
    return {row.file_path for row in position_deletes(table) if row.file_format == "PUFFIN"}


def positions(table: Table) -> set[tuple]:
    """Every position delete that is live, wherever it is kept."""
    return {(row.file_path, row.pos) for row in table.metadata_table("position_deletes", "file_path, pos")}


def lineage(table: Table) -> list[tuple]:
    return sorted(map(tuple, table.sql("select id, _row_id, _last_updated_sequence_number from {t}").collect()))


def upgrade(table: Table) -> None:
    table.sql("alter table {t} set tblproperties ('format-version' = '3')")


def version_2(catalog: Catalog, granularity: str, partitioned: str = "", **properties: str) -> Table:
    """Six data files for each partition, deleted from in four commits."""
    table = catalog.create(f"vectors.t{next(_serial)}", "id bigint, category string, v string", partitioned,
                           **tables.MERGE_ON_READ, **{"write.delete.granularity": granularity, **properties})
    table.insert("select id, concat('c', id % 2), concat('v', id) from range(1200)", tables.MANY)
    for remainder in range(4):
        table.sql(f"delete from {{t}} where id % 40 in ({remainder}, {remainder + 21})")
    return table


def upgraded(catalog: Catalog, granularity: str, partitioned: str = "", **properties: str) -> Table:
    """The same in version 3, some of whose data files have vectors."""
    table = version_2(catalog, granularity, partitioned, **properties)
    upgrade(table)
    table.sql("delete from {t} where id between 100 and 160")
    table.insert("select id + 2000, concat('c', id % 2), 'late' from range(100)", 2)
    return table


def check_vectors(table: Table) -> None:
    """What the specification asks of every vector: the entry fits the blob, blob and footer the data file, and no data
    file has two."""
    data = {row.file_path: row for row in table.metadata_table("data_files")}
    rows = [row for row in position_deletes(table) if row.file_format == "PUFFIN"]
    assert len({row.referenced_data_file for row in rows}) == len(rows), "a data file has two vectors"
    for row in rows:
        target = data[row.referenced_data_file]
        assert row.spec_id == target.spec_id and row.asDict().get("partition") == target.asDict().get("partition")
        content = local_path(row.file_path).read_bytes()
        assert len(content) == row.file_size_in_bytes
        footer = footer_of(content)
        (blob,) = (blob for blob in footer["blobs"] if blob["offset"] == row.content_offset)
        assert blob == {
            "type": "deletion-vector-v1",
            "fields": [2147483645],
            "snapshot-id": -1,
            "sequence-number": -1,
            "offset": row.content_offset,
            "length": row.content_size_in_bytes,
            "properties": {"referenced-data-file": row.referenced_data_file, "cardinality": str(row.record_count)},
        }
        assert footer["properties"]["created-by"]
        stated, = struct.unpack_from(">i", content, row.content_offset)
        assert stated == row.content_size_in_bytes - 8
        assert content[row.content_offset + 4:row.content_offset + 8] == bytes.fromhex("D1D33964")
    sequences = {entry.data_file.file_path: entry.sequence_number for entry in table.metadata_table("entries")
                 if entry.status != 2 and entry.data_file.content == 0}
    for entry in table.metadata_table("entries"):
        if entry.status != 2 and entry.data_file.file_format == "PUFFIN":
            assert entry.sequence_number >= sequences[entry.data_file.referenced_data_file]


def footer_of(puffin: bytes) -> dict:
    assert puffin[:4] == puffin[-4:] == b"PFA1"
    (size,) = struct.unpack_from("<i", puffin, len(puffin) - 12)
    return json.loads(puffin[-12 - size:-12])


def by_spark(table: Table) -> tuple[list, set[tuple]]:
    """What Spark's own procedure leaves; the table is put back afterwards."""
    with table.rewound():
        table.sql(f"call {{system}}.{ACTION}(table => '{{name}}', options => map('rewrite-all', 'true'))")
        return position_deletes(table), positions(table)


def convert_like_spark(table: Table, **options: object) -> snowpack.Outcome:
    """Converts, and leaves the table with the vectors Spark would write, in no more files, for the same rows."""
    before, had, ids = check.take(table), positions(table), lineage(table)
    replaced = position_deletes(table)
    spark_files, spark_positions = by_spark(table)
    outcome = convert(table, **options).completed()
    found, kept = position_deletes(table), positions(table)
    assert {row.file_format for row in found} <= {"PUFFIN"}, outcome.message
    assert kept == spark_positions and kept <= had
    assert len(found) == len(spark_files)
    assert len(puffin_files(table)) <= len({row.file_path for row in spark_files})
    check.same_rows(table, before)
    check.same_refs(table, before)
    found_ids = lineage(table)
    if any(row_id is None for _, row_id, _ in ids):
        # No snapshot had assigned row ids yet: this commit does.
        assert len({row_id for _, row_id, _ in found_ids} - {None}) == len(ids)
    else:
        assert found_ids == ids
    check.sound(table)
    check_vectors(table)
    if outcome.message.startswith("Rewrote"):
        check_report(table, outcome, replaced)
    return outcome


def check_report(table: Table, outcome: snowpack.Outcome, had: list) -> None:
    """The metrics and the snapshot's summary agree with Spark's metadata tables."""
    summary, metrics = check.current_summary(table), outcome.results[0]["metrics"]
    snapshot = table.metadata()["current-snapshot-id"]
    entries = [row for row in table.metadata_table("all_entries") if row.snapshot_id == snapshot]
    added = [row.data_file for row in entries if row.status == 1]
    removed = [row.data_file for row in entries if row.status == 2]
    vectors = [file for file in removed if file.file_format == "PUFFIN"]
    assert {file.content for file in added + removed} <= {1}
    assert metrics["vectors_out"] == len(added) == int(summary.get("added-dvs", 0))
    assert metrics["vectors_in"] == len(vectors) == int(summary.get("removed-dvs", 0))
    assert metrics["files_in"] == len({file.file_path for file in removed})
    assert metrics["files_out"] == len({file.file_path for file in added})
    assert metrics["delete_files_removed"] == len(removed) == int(summary["removed-delete-files"])
    assert metrics["rows_out"] == sum(file.record_count for file in added) == int(summary.get("added-position-deletes", 0))
    assert metrics["rows_in"] == sum(file.record_count for file in removed) == int(summary["removed-position-deletes"])
    assert int(summary.get("removed-position-delete-files", 0)) == len(removed) - len(vectors)
    assert int(summary["total-delete-files"]) == len(had) - len(removed) + len(added) == len(position_deletes(table))
    assert summary["operation"] == "replace" and "added-position-delete-files" not in summary


def settled(table: Table, **options: object) -> None:
    """A second run finds nothing to do."""
    before = check.footprint(table)
    assert convert(table, **options).completed().message.startswith("Nothing to do")
    assert check.footprint(table) == before


@pytest.mark.parametrize("granularity", ["file", "partition"])
@pytest.mark.parametrize("partitioned", ["", "category", "bucket(3, id)"], ids=["flat", "identity", "bucket"])
def test_position_delete_files_become_vectors(lake: Catalog, granularity: str, partitioned: str):
    table = upgraded(lake, granularity, partitioned)
    convert_like_spark(table)
    settled(table)
    before = check.take(table)
    table.sql("delete from {t} where id % 40 in (15, 36)")
    assert check.take(table).rows.count < before.rows.count
    check_vectors(table)
    table.sql("update {t} set v = 'after' where id % 50 = 7")
    check_vectors(table)
    rows = check.take(table)
    snowpack.compact(table).completed()
    check.same_rows(table, rows)


def test_just_upgraded(lake: Catalog):
    table = version_2(lake, "partition", "category")
    upgrade(table)
    files = len(position_deletes(table))
    before = check.take(table)
    outcome = convert(table).completed()
    assert outcome.message == f"Rewrote {files} position delete files into 1"
    check.same_rows(table, before)
    check_vectors(table)
    settled(table)
    check.pyiceberg_reads(table)


def test_many_small_puffin_files_are_merged(lake: Catalog):
    """Spark leaves one Puffin file for each delete; its procedure does nothing about them."""
    table = lake.create("vectors.small", "id bigint, category string", "category",
                        **{**tables.MERGE_ON_READ, "format-version": "3"})
    table.insert("select id, concat('c', id % 3) from range(1200)", tables.MANY)
    for category in range(3):
        for first in (0, 400):
            table.sql(f"delete from {{t}} where category = 'c{category}' and id between {first} and {first + 30}")
    before, vectors, files = check.take(table), len(position_deletes(table)), len(puffin_files(table))
    assert files >= 3
    if files < 5:
        assert convert(table).completed().message.startswith("Nothing to do")
    outcome = convert(table, min_input_files=2).completed()
    assert outcome.message == f"Rewrote {files} position delete files into 1"
    assert len(puffin_files(table)) == 1 and len(position_deletes(table)) == vectors
    check.same_rows(table, before)
    check.sound(table)
    check_vectors(table)
    settled(table, min_input_files=2)
    table.sql("delete from {t} where id between 100 and 120")
    check_vectors(table)


def test_vectors_and_delete_files_of_lost_data_files_are_dropped(lake: Catalog):
    table = upgraded(lake, "partition", "category")
    table.sql("""call {system}.rewrite_data_files(table => '{name}', where => 'category = "c1"',
        options => map('rewrite-all', 'true', 'remove-dangling-deletes', 'false'))""")
    convert_like_spark(table)
    assert {row.partition.category for row in position_deletes(table)} == {"c0"}
    settled(table)


def test_old_and_new_specs_share_a_puffin_file(lake: Catalog):
    table = version_2(lake, "partition")
    table.sql("alter table {t} add partition field category")
    table.insert("select id, concat('c', id % 2), 'late' from range(5000, 5600)", tables.MANY)
    table.sql("delete from {t} where id % 50 = 30")
    upgrade(table)
    convert_like_spark(table)
    assert len(puffin_files(table)) == 1
    assert {row.spec_id for row in position_deletes(table)} == {0, 1}
    settled(table)


def test_a_promoted_partition_column(lake: Catalog):
    table = lake.create("vectors.promoted", "id bigint, part int", "truncate(1, part)", **tables.MERGE_ON_READ,
                        **{"write.delete.granularity": "partition"})
    table.insert("select id, cast(id % 2 as int) from range(400)", tables.MANY)
    table.sql("delete from {t} where id % 40 in (1, 2)")
    table.sql("alter table {t} alter column part type bigint")
    table.sql("delete from {t} where id % 40 in (3, 4)")
    upgrade(table)
    convert_like_spark(table)
    settled(table)


def test_small_targets_make_several_puffin_files(lake: Catalog):
    table = upgraded(lake, "partition", "category")
    before = check.take(table)
    options = {"target_file_size_bytes": 1500, "partial_progress.enabled": "true"}
    outcome = convert(table, **options).completed()
    assert outcome.results[0]["metrics"]["files_out"] > 1, outcome.message
    check.same_rows(table, before)
    check.sound(table)
    check_vectors(table)
    settled(table, **options)


def test_equality_deletes_are_left_as_they_are(lake: Catalog):
    table = version_2(lake, "partition")
    java = JavaWriter(table)
    java.commit(deletes=[java.equality_delete(["v"], [("v700",), ("v701",)])])
    upgrade(table)
    before = check.take(table)
    convert(table).completed()
    check.same_rows(table, before)
    check.sound(table)
    check_vectors(table)
    assert check.current_summary(table)["total-equality-deletes"] == "2"


def test_old_snapshots_and_expiry(lake: Catalog):
    """Replaced files stay while a snapshot needs them, and go with it."""
    table = upgraded(lake, "file")
    convert_like_spark(table)
    before = check.current_rows(table)
    snowpack.run(table, "expire_snapshots", options={"older_than": 4_000_000_000_000, "retain_last": 1}).completed()
    assert check.current_rows(table) == before
    live = {local_path(row.file_path).name for row in position_deletes(table)}
    assert {name.rpartition("/")[2] for name in table.files() if "-deletes" in name} == live


def test_dry_run_tells_and_touches_nothing(lake: Catalog):
    table = upgraded(lake, "partition")
    before = check.footprint(table)
    (result,) = snowpack.run(table, ACTION, dry_run=True).completed().results
    assert result["preview"]["file_groups"] >= 1, result
    files = result["preview"]["files_in"]
    assert check.footprint(table) == before
    assert convert(table).completed().results[0]["metrics"]["files_in"] == files


def test_a_broken_vector_fails_the_run_and_is_named(lake: Catalog):
    table = upgraded(lake, "partition")
    vector = next(row for row in position_deletes(table) if row.file_format == "PUFFIN")
    puffin = local_path(vector.file_path)
    content = bytearray(puffin.read_bytes())
    content[vector.content_offset + 12] ^= 0xFF
    puffin.write_bytes(content)
    before = check.footprint(table)
    assert puffin.name in convert(table, rewrite_all="true").failed().said
    assert check.footprint(table) == before


def test_a_table_without_deletes_has_nothing_to_do(lake: Catalog):
    table = lake.create("vectors.none", "id bigint", **{"format-version": "3"})
    assert convert(table).completed().message == "Nothing to do: the table has no position delete files"
    table.insert("select id from range(10)")
    settled(table)
