"""rewrite_position_delete_files: same rows in every snapshot, and no more delete files than Spark's own procedure leaves."""

import itertools

import pyarrow.parquet as pq
import pytest

import check
import snowpack
import tables
from java_writer import JavaWriter
from lake import Catalog, Table, local_path

ACTION = "rewrite_position_delete_files"
_serial = itertools.count()


def pack(table: Table, **options: object) -> snowpack.Outcome:
    """Runs the action; option names with `_` for `-`."""
    return snowpack.run(table, ACTION, options={key.replace("_", "-"): value for key, value in options.items()})


def delete_files(table: Table) -> list:
    """The live position-delete files."""
    return table.metadata_table("delete_files where content = 1")


def positions(table: Table) -> set[tuple]:
    """Every position delete that is live, wherever it is kept."""
    return {(row.file_path, row.pos) for row in table.metadata_table("position_deletes", "file_path, pos")}


def by_spark(table: Table, **options: object) -> tuple[int, set[tuple]]:
    """How many delete files Spark leaves, and of which positions; the table is put back afterwards."""
    pairs = ", ".join(f"'{key.replace('_', '-')}', '{value}'" for key, value in options.items())
    given = f", options => map({pairs})" if pairs else ""
    with table.rewound():
        table.sql(f"call {{system}}.{ACTION}(table => '{{name}}'{given})")
        return len(delete_files(table)), positions(table)


def pack_like_spark(table: Table, **options: object) -> snowpack.Outcome:
    """Packs, and leaves the table with no more delete files and no more positions than Spark, for the same rows."""
    before, files, had = check.take(table), len(delete_files(table)), positions(table)
    spark_files, spark_positions = by_spark(table, **options)
    outcome = pack(table, **options).completed()
    found, kept = delete_files(table), positions(table)
    assert len(found) <= spark_files, outcome.message
    assert kept <= had and kept <= spark_positions, outcome.message
    live = {row.file_path for row in table.metadata_table("data_files", "file_path")}
    assert {position for position in had if position[0] in live} <= kept, outcome.message
    check.same_rows(table, before)
    check.same_refs(table, before)
    check.sound(table)
    check.pyiceberg_reads(table)
    metrics = outcome.results[0]["metrics"]
    if outcome.message.startswith("Rewrote"):
        assert metrics["files_in"] - metrics["files_out"] == files - len(found), metrics
        assert metrics["rows_in"] - metrics["rows_deleted"] == metrics["rows_out"], metrics
        assert check.current_summary(table)["operation"] == "replace"
    return outcome


def settled(table: Table, **options: object) -> None:
    """A second run finds nothing to do."""
    before = check.footprint(table)
    assert pack(table, **options).completed().message.startswith("Nothing to do")
    assert check.footprint(table) == before


def well_deleted(catalog: Catalog, granularity: str, partitioned: str = "", **properties: str) -> Table:
    """Six data files for each partition, and seven commits that delete from each of them."""
    table = catalog.create(f"pack.t{next(_serial)}", "id bigint, category string, v string", partitioned,
                           **tables.MERGE_ON_READ, **{"write.delete.granularity": granularity, **properties})
    table.insert("select id, concat('c', id % 2), concat('v', id) from range(1200)", tables.MANY)
    if granularity == "file":
        _delete_file_by_file(table)
    else:
        for remainder in range(7):
            table.sql(f"delete from {{t}} where id % 40 in ({remainder}, {remainder + 21})")
    return table


def _delete_file_by_file(table: Table) -> None:
    """Spark merges deletes of one file as it writes them; other writers add a delete file every time."""
    java = JavaWriter(table)
    columns = "*" if table.java().spec().isPartitioned() else "file_path"
    data = table.metadata_table("data_files", columns)
    for round in range(7):
        java.commit(deletes=[
            java.position_delete([(row.file_path, round), (row.file_path, 90 - 3 * round)],
                                 tuple(row.partition) if columns == "*" else ())
            for row in data
        ])


@pytest.mark.parametrize("granularity", ["file", "partition"])
@pytest.mark.parametrize("partitioned", ["", "category", "bucket(3, id)"], ids=["flat", "identity", "bucket"])
def test_packs_as_well_as_spark(lake: Catalog, granularity: str, partitioned: str):
    table = well_deleted(lake, granularity, partitioned)
    files = len(delete_files(table))
    outcome = pack_like_spark(table)
    left = delete_files(table)
    assert outcome.message == f"Rewrote {files} position delete files into {len(left)}"
    settled(table)
    for row in left:
        content = pq.read_table(local_path(row.file_path)).to_pylist()
        keys = [(entry["file_path"], entry["pos"]) for entry in content]
        assert keys == sorted(set(keys)) and len(keys) == row.record_count
        if granularity == "file":
            (target,) = {path for path, _ in keys}
            assert row.referenced_data_file == target


@pytest.mark.parametrize("options", [
    {"min_input_files": 3},
    {"min_input_files": 100},
    {"rewrite_all": "true", "min_input_files": 100},
    {"target_file_size_bytes": 3_000},
    {"target_file_size_bytes": 3_000, "max_file_group_size_bytes": 5_000},
    {"partial_progress.enabled": "true", "partial_progress.max_commits": 2},
    {"rewrite_job_order": "bytes-desc", "max_concurrent_file_group_rewrites": 1},
], ids=lambda options: "-".join(options))
def test_options_do_what_spark_makes_of_them(lake: Catalog, options: dict):
    pack_like_spark(well_deleted(lake, "partition", "category"), **options)


def test_deletes_of_compacted_files_are_dropped(lake: Catalog):
    """Spark compacts one partition and leaves its delete files, which apply to nothing any more."""
    table = well_deleted(lake, "partition", "category")
    table.sql("""call {system}.rewrite_data_files(table => '{name}', where => 'category = "c1"',
        options => map('rewrite-all', 'true', 'remove-dangling-deletes', 'false'))""")
    files = len(delete_files(table))
    dangling = sum(row.partition.category == "c1" for row in delete_files(table))
    outcome = pack_like_spark(table)
    assert outcome.message == f"Rewrote {files} position delete files into 1, dropped {dangling} dangling"
    assert outcome.results[0]["metrics"]["dangling_files"] == dangling
    assert outcome.results[0]["metrics"]["delete_files_removed"] == files
    settled(table)


def test_one_delete_file_of_a_lost_data_file_is_reason_enough(lake: Catalog):
    """Spark waits for five of them; metadata alone shows that it applies to nothing."""
    table = lake.create("pack.lone", "id bigint", **tables.MERGE_ON_READ)
    table.insert("select id from range(100)")
    table.sql("delete from {t} where id < 10")
    table.sql("call {system}.rewrite_data_files(table => '{name}', options => map('rewrite-all', 'true'))")
    if not delete_files(table):
        pytest.skip("Spark removed it by itself")
    assert pack_like_spark(table).message == "Rewrote 1 position delete file into 0, dropped 1 dangling"


def test_all_dangling_files_go_and_none_come(lake: Catalog):
    table = well_deleted(lake, "file", "category")
    table.sql("""call {system}.rewrite_data_files(table => '{name}',
        options => map('rewrite-all', 'true', 'remove-dangling-deletes', 'false'))""")
    files = len(delete_files(table))
    outcome = pack_like_spark(table)
    assert outcome.message == f"Rewrote {files} position delete files into 0, dropped {files} dangling"
    assert not delete_files(table)
    settled(table)


def test_old_and_new_specs_are_packed_apart(lake: Catalog):
    table = well_deleted(lake, "partition")
    table.sql("alter table {t} add partition field category")
    table.insert("select id, concat('c', id % 2), 'late' from range(5000, 5600)", tables.MANY)
    for remainder in range(6):
        table.sql(f"delete from {{t}} where id % 50 = {30 + remainder}")
    pack_like_spark(table)
    assert sorted(row.spec_id for row in delete_files(table)) == [0, 1, 1]
    settled(table)


def test_a_spec_whose_column_was_dropped(lake: Catalog):
    """Spark cannot do this table; its rows are compared with what they were."""
    table = well_deleted(lake, "partition", "truncate(2, category)")
    table.sql("alter table {t} drop partition field truncate(2, category)")
    table.sql("alter table {t} drop column category")
    before, files = check.take(table), check.current_summary(table)["total-delete-files"]
    assert pack(table).completed().message == f"Rewrote {files} position delete files into 2"
    check.same_rows(table, before)
    check.sound(table)


def test_a_promoted_partition_column(lake: Catalog):
    table = lake.create("pack.promoted", "id bigint, part int", "truncate(1, part)", **tables.MERGE_ON_READ,
                        **{"write.delete.granularity": "partition"})
    table.insert("select id, cast(id % 2 as int) from range(400)", tables.MANY)
    for remainder in range(3):
        table.sql(f"delete from {{t}} where id % 40 in ({remainder}, {remainder + 21})")
    table.sql("alter table {t} alter column part type bigint")
    for remainder in range(3, 6):
        table.sql(f"delete from {{t}} where id % 40 in ({remainder}, {remainder + 21})")
    before, files = check.take(table), check.current_summary(table)["total-delete-files"]
    assert pack(table).completed().message == f"Rewrote {files} position delete files into 2"
    check.same_rows(table, before)
    check.sound(table)
    settled(table)


def test_positions_deleted_twice_are_kept_once(lake: Catalog):
    table = lake.create("pack.twice", "id bigint", **tables.MERGE_ON_READ, **{"write.delete.granularity": "partition"})
    table.insert("select id from range(100)", 2)
    java = JavaWriter(table)
    targets = [(row._file, row._pos) for row in table.sql("select _file, _pos from {t} where id < 20").collect()]
    for _ in range(6):
        java.commit(deletes=[java.position_delete(targets)])
    outcome = pack_like_spark(table)
    metrics = outcome.results[0]["metrics"]
    assert (metrics["rows_in"], metrics["rows_out"], metrics["dangling_files"]) == (120, 20, 0)


def test_equality_deletes_are_left_as_they_are(lake: Catalog):
    table = well_deleted(lake, "partition")
    java = JavaWriter(table)
    java.commit(deletes=[java.equality_delete(["v"], [("v700",), ("v701",)])])
    before = check.take(table)
    pack(table).completed()
    check.same_rows(table, before)
    check.sound(table)
    assert check.current_summary(table)["total-equality-deletes"] == "2"


def test_new_deletes_after_it_and_compaction_of_all(lake: Catalog):
    """What it leaves is a table like any other: Spark deletes and compacts on, and so do we."""
    table = well_deleted(lake, "partition", "category")
    pack_like_spark(table)
    table.sql("delete from {t} where id % 40 = 30")
    before = check.take(table)
    snowpack.compact(table).completed()
    check.same_rows(table, before)
    assert not delete_files(table)


def test_new_files_obey_the_delete_properties(lake: Catalog):
    table = well_deleted(lake, "partition", **{"write.delete.parquet.compression-codec": "gzip"})
    pack(table).completed()
    (row,) = delete_files(table)
    footer = pq.ParquetFile(local_path(row.file_path)).metadata
    assert footer.row_group(0).column(0).compression == "GZIP"
    assert footer.metadata[b"delete-type"] == b"position"
    assert row.file_path.endswith("-deletes.parquet")


def test_dry_run_tells_and_touches_nothing(lake: Catalog):
    table = well_deleted(lake, "partition")
    before = check.footprint(table)
    (result,) = snowpack.run(table, ACTION, dry_run=True).completed().results
    assert result["preview"]["files_in"] == len(delete_files(table)), result
    assert check.footprint(table) == before


def test_a_table_without_deletes_has_nothing_to_do(lake: Catalog):
    table = tables.unpartitioned(lake, "pack.none")
    settled(table)
    empty = lake.create("pack.empty", "id bigint")
    assert pack(empty).completed().message == "Nothing to do: the table has no position delete files"


@pytest.mark.parametrize("options, named", [
    ({"where": "nobody > 1"}, "nobody"),
    ({"target-file-size-bytes": 0}, "target-file-size-bytes"),
    ({"min-file-size-bytes": 10, "max-file-size-bytes": 5}, "file-size-bytes"),
], ids=lambda value: None)
def test_options_that_cannot_be_are_refused(lake: Catalog, options: dict, named: str):
    table = tables.unpartitioned(lake, f"pack.refused{next(_serial)}")
    before = check.footprint(table)
    assert named in snowpack.run(table, ACTION, options=options).failed().said
    assert check.footprint(table) == before
