"""rewrite_data_files that sorts: same rows, in the order asked for, and settled after one run."""

import pyarrow.parquet as pq
import pytest

import check
import snowpack
import tables
from lake import Catalog, Table

MIXED = "select (id * 7919) % 3000 as id, concat('name ', (id * 31) % 97) as name, if(id % 11 = 0, null, id / 7) as ratio from range({0}, {0} + 500)"


def unsorted(catalog: Catalog, name: str, partitioned: str = "", **properties: str) -> Table:
    table = catalog.create(name, "id bigint, name string, ratio double", partitioned, **properties)
    for start in range(0, 3000, 500):
        table.insert(MIXED.format(start), tables.MANY)
    return table


def rows_in_file_order(table: Table) -> list[list[dict]]:
    """The rows of each live file, in the order they are in."""
    return [pq.read_table(path).to_pylist() for path in table.data_files()]


def rewrite(table: Table, **options: object) -> snowpack.Outcome:
    before = check.take(table)
    outcome = snowpack.compact(table, **options).completed()
    assert outcome.message.startswith("Compacted "), outcome.message
    check.same_rows(table, before)
    check.sound(table)
    settled = check.footprint(table)
    assert snowpack.compact(table, **options).completed().message.startswith("Nothing to do")
    assert check.footprint(table) == settled
    return outcome


def _nulls_last(value: object) -> tuple:
    return (value is None, value)


@pytest.mark.parametrize("order, key", [
    ("id", lambda row: row["id"]),
    ("id DESC", lambda row: -row["id"]),
    ("ratio ASC NULLS LAST, id", lambda row: (_nulls_last(row["ratio"]), row["id"])),
    ("truncate(6, name), id DESC", lambda row: (row["name"][:6], -row["id"])),
])
def test_rows_are_in_the_order_given(lake: Catalog, order: str, key):
    table = unsorted(lake, f"sorted.by_{abs(hash(order))}")
    rewrite(table, sort_order=order)
    (rows,) = rows_in_file_order(table)
    keys = [key(row) for row in rows]
    assert keys == sorted(keys)


def test_files_of_a_sorted_group_follow_each_other(lake: Catalog):
    """Cut into several files, each holds a range of its own, as Spark's range partitioning does."""
    table = unsorted(lake, "sorted.ranges")
    rewrite(table, strategy="sort", sort_order="id", target_file_size_bytes=12_000)
    ranges = sorted((min(ids), max(ids)) for ids in ([row["id"] for row in rows] for rows in rows_in_file_order(table)))
    assert len(ranges) > 1
    assert all(left[1] <= right[0] for left, right in zip(ranges, ranges[1:]))


def test_the_tables_own_order_is_noted_in_its_files(lake: Catalog):
    table = unsorted(lake, "sorted.own")
    table.sql("alter table {t} write locally ordered by name desc nulls last, id")
    rewrite(table, strategy="sort")
    assert {row.sort_order_id for row in table.metadata_table("data_files", "sort_order_id")} == {1}
    (rows,) = rows_in_file_order(table)
    names = [row["name"] for row in rows]
    assert names == sorted(names, reverse=True)


def test_partitions_are_sorted_each(lake: Catalog):
    table = unsorted(lake, "sorted.partitioned", "bucket(3, id)")
    rewrite(table, sort_order="ratio desc")
    check.partitions_hold_their_rows(table)
    for rows in rows_in_file_order(table):
        ratios = [row["ratio"] for row in rows if row["ratio"] is not None]
        assert ratios == sorted(ratios, reverse=True)
        assert all(row["ratio"] is None for row in rows[len(ratios):])


def test_z_order_brings_rows_near_in_both_columns_together(lake: Catalog):
    """Cut into files, each covers a small part of the square that the two columns span; sorted by one column alone it
    would cover a stripe as long as the square."""
    table = lake.create("sorted.curve", "x int, y int, filler string")
    table.insert("select id % 64 as x, cast(id / 64 as int) % 64 as y, repeat(uuid(), 4) as filler from range(4096)", 8)
    rewrite(table, strategy="zorder", sort_order="x, y", target_file_size_bytes=25_000)
    files = rows_in_file_order(table)
    assert len(files) >= 4
    spans = [[max(row[c] for row in rows) - min(row[c] for row in rows) + 1 for c in "xy"] for rows in files]
    covered = sum(width * height for width, height in spans)
    assert covered < 3 * 64 * 64, spans


def test_deletes_are_applied_before_sorting(lake: Catalog):
    table = unsorted(lake, "sorted.deleted", **{"format-version": "3", **tables.MERGE_ON_READ})
    table.sql("delete from {t} where id % 5 = 0")
    lineage = sorted(map(tuple, table.sql("select id, name, _row_id from {t}").collect()))
    rewrite(table, sort_order="id")
    assert sorted(map(tuple, table.sql("select id, name, _row_id from {t}").collect())) == lineage
    (rows,) = rows_in_file_order(table)
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)


@pytest.mark.parametrize("options, named", [
    ({"strategy": "sort"}, "no sort order"),
    ({"strategy": "zorder"}, "sort_order"),
    ({"sort_order": "absent"}, "absent"),
    ({"sort_order": "id descending"}, "descending"),
    ({"strategy": "binpack", "sort_order": "id"}, "binpack"),
    ({"sort_order": "days(name)"}, "day"),
])
def test_an_order_that_makes_no_sense_is_refused(lake: Catalog, options: dict, named: str):
    table = tables.unpartitioned(lake, f"sorted.refused_{abs(hash(str(options)))}")
    before = check.footprint(table)
    assert named in snowpack.compact(table, **options).failed().said
    assert check.footprint(table) == before
