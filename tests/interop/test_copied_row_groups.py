"""Row groups that rewrite_data_files copies as they are: Spark cannot tell them from rows it wrote anew itself."""

import pyarrow.parquet as pq
import pytest

import check
import snowpack
import tables
from lake import Catalog, Table, local_path

ROWS = 4_000


def row_groups(table: Table) -> list[tuple[int, ...]]:
    """Every live row group as the sizes of its columns."""
    found = []
    for (path,) in table.metadata_table("data_files", "file_path"):
        footer = pq.ParquetFile(local_path(path)).metadata
        groups = (footer.row_group(index) for index in range(footer.num_row_groups))
        found += [tuple(group.column(c).total_compressed_size for c in range(group.num_columns)) for group in groups]
    return sorted(found)


def written_by_spark(catalog: Catalog, name: str, columns: str, query: str, **properties: str) -> Table:
    """Files of one row group each, of a size that the table is then said to want.

    Rows come from another table: in files, Spark marks columns as required that a query cannot leave null.
    """
    table = catalog.create(name, columns, **properties)
    staged = catalog.create(f"{name}_staged", columns)
    for start in range(0, 3 * ROWS, ROWS):
        staged.sql("insert overwrite {t} " + query.format(start, start + ROWS))
        table.insert(f"select * from {staged.identifier}", 2)
    largest = max(sum(group) for group in row_groups(table))
    table.sql(f"alter table {{t}} set tblproperties ('write.parquet.row-group-size-bytes' = '{largest}')")
    return table


def metrics_by_spark(table: Table) -> list:
    with table.rewound():
        table.sql("call {system}.rewrite_data_files(table => '{name}')")
        return metrics(table)


def metrics(table: Table) -> list:
    """What readers see of each column's metrics but its size, which depends on the encoder."""
    rows = table.metadata_table("data_files", "readable_metrics")
    return sorted(str({name: column[1:] for name, column in row.readable_metrics.asDict().items()}) for row in rows)


@pytest.mark.parametrize("codec", ["zstd", "snappy", "gzip", "uncompressed"])
def test_every_type_is_copied_with_the_metrics_spark_would_write(lake: Catalog, codec: str):
    # No NaN: files with NaN values are decoded.
    query = f"select {tables.TYPICAL} from range({{}}, {{}})"
    table = written_by_spark(
        lake, f"copied.{codec}", tables.EVERY_TYPE, query, **{"write.parquet.compression-codec": codec})
    before, groups, spark = check.take(table), row_groups(table), metrics_by_spark(table)
    outcome = snowpack.compact(table).completed()
    assert outcome.message == "Compacted 6 files into 1 files"
    assert row_groups(table) == groups
    assert metrics(table) == spark
    check.same_rows(table, before)
    check.sound(table)
    check.pyiceberg_reads(table)


def test_filters_find_rows_in_copied_pages(lake: Catalog):
    """Page indexes and dictionaries moved along: filters that use them see the same rows."""
    query = "select id, concat('name ', id % 50), id / 2 from range({}, {})"
    table = written_by_spark(lake, "copied.filtered", "id bigint, name string, half double", query)
    filters = [f"id = {ROWS + 17}", "name = 'name 7'", "name = 'nobody'", f"half between {ROWS} and {ROWS + 3}"]
    asked = [f"select * from {{t}} where {filter}" for filter in filters]
    before = [sorted(table.sql(query).collect()) for query in asked]
    snowpack.compact(table).completed()
    assert len(row_groups(table)) == 6
    assert [sorted(table.sql(query).collect()) for query in asked] == before
    assert [len(rows) for rows in before] == [1, 3 * ROWS // 50, 0, 7]


def test_only_what_needs_it_is_encoded_anew(lake: Catalog):
    """Small row groups are joined, files with deleted rows lose them, the others keep their row groups."""
    query = "select id, concat('name ', id), id / 2 from range({}, {})"
    table = written_by_spark(lake, "copied.mixed", "id bigint, name string, half double", query, **tables.MERGE_ON_READ)
    table.insert(query.format(50_000, 50_100))
    table.insert(query.format(60_000, 60_100))
    table.sql("delete from {t} where id = 3")
    groups, before = row_groups(table), check.take(table)
    snowpack.compact(table).completed()
    after = row_groups(table)
    kept = [group for group in after if group in groups]
    assert len(kept) == 5 and len(after) in (6, 7)
    check.same_rows(table, before)
    check.sound(table)
