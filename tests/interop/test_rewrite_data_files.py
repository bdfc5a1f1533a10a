"""rewrite_data_files on tables of every shape: same rows, and the files Spark's own procedure would leave."""

import itertools

import pyarrow.parquet as pq
import pytest

import check
import snowpack
import tables
from lake import Catalog, Table, local_path

# Where our defaults differ from Spark's, Spark is told ours, so that both have the same task.
OURS = {"delete-file-threshold": "2", "delete-ratio-threshold": "0.1", "remove-dangling-deletes": "true"}


def by_spark(table: Table, **options: object) -> dict[str, int]:
    """The counts Spark's procedure leaves on this table, which is put back afterwards."""
    given = OURS | {key.replace("_", "-"): str(value) for key, value in options.items()}
    pairs = ", ".join(f"'{key}', '{value}'" for key, value in given.items())
    with table.rewound():
        table.sql(f"call {{system}}.rewrite_data_files(table => '{{name}}', options => map({pairs}))")
        return counts(table)


def counts(table: Table) -> dict[str, int]:
    """Live files by content, as the current snapshot's summary says; check.sound holds it against the manifests."""
    summary = check.current_summary(table)
    return {kind: int(summary[f"total-{kind}"]) for kind in ("data-files", "delete-files", "equality-deletes")}


def compact_like_spark(table: Table, **options: object) -> snowpack.Outcome:
    """Compacts, with as many data files afterwards as Spark leaves and no more delete files."""
    before, spark = check.take(table), by_spark(table, **options)
    outcome = snowpack.compact(table, **options).completed()
    found = counts(table)
    assert found["data-files"] == spark["data-files"], outcome.message
    assert found["delete-files"] <= spark["delete-files"], outcome.message
    check.same_rows(table, before)
    check.same_refs(table, before)
    check.sound(table)
    return outcome


@pytest.mark.parametrize("build", tables.COMPACTED, ids=lambda build: build.__name__)
def test_same_rows_in_as_few_files_as_spark_leaves(lake: Catalog, build: tables.Builder):
    table = build(lake, f"rewrite.{build.__name__}")
    outcome = compact_like_spark(table)
    assert outcome.message.startswith("Compacted "), outcome.message
    check.partitions_hold_their_rows(table)
    if not counts(table)["equality-deletes"]:
        check.pyiceberg_reads(table, *tables.PYICEBERG_MISREADS.get(build, ()))
    settled = check.footprint(table)
    assert snowpack.compact(table).completed().message.startswith("Nothing to do")
    assert check.footprint(table) == settled


_serial = itertools.count()


@pytest.mark.parametrize("options", [
    # Groups of several output files, so that packing and splitting show.
    {"target_file_size_bytes": 12_000},
    {"target_file_size_bytes": 12_000, "max_file_group_size_bytes": 40_000},
    {"target_file_size_bytes": 5_000, "min_file_size_bytes": 100, "max_file_size_bytes": 5_500},
    {"min_input_files": 100},
    {"min_input_files": 100, "rewrite_all": "true"},
    {"partial_progress.enabled": "false"},
    {"partial_progress.enabled": "true", "partial_progress.max_commits": 2, "max_file_group_size_bytes": 9_000},
    {"max_files_to_rewrite": 7},
    {"rewrite_job_order": "files-desc", "max_concurrent_file_group_rewrites": 1},
    {"use_starting_sequence_number": "false"},
], ids=lambda options: "-".join(options))
def test_options_do_what_spark_makes_of_them(lake: Catalog, options: dict):
    table = tables.unpartitioned(lake, f"options.t{next(_serial)}")
    compact_like_spark(table, **options)


def test_deletes_make_a_file_of_good_size_a_candidate(lake: Catalog):
    """One file at target size is left alone, until enough of its rows are deleted."""
    table = lake.create("rewrite.deleted_from", "id bigint", **tables.MERGE_ON_READ)
    table.insert("select id from range(1000)")
    options = {"min-file-size-bytes": 1, "delete-file-threshold": 1000}
    assert snowpack.compact(table, **options).completed().message.startswith("Nothing to do")
    table.sql("delete from {t} where id < 50")
    assert snowpack.compact(table, **options).completed().message.startswith("Nothing to do")
    table.sql("delete from {t} where id < 120")
    before = check.take(table)
    assert snowpack.compact(table, **options).completed().message == "Compacted 1 files into 1 files"
    check.same_rows(table, before)
    assert counts(table)["delete-files"] == 0


def test_a_file_with_nothing_left_is_replaced_by_nothing(lake: Catalog):
    table = lake.create("rewrite.emptied", "id bigint, c string", "c", **tables.MERGE_ON_READ)
    table.insert("select id, concat('c', id % 2) from range(100)", tables.MANY)
    table.sql("delete from {t} where c = 'c0' and id >= 0 and hash(id) is not null")
    table.sql("delete from {t} where c = 'c1' and id % 3 = 0")
    compact_like_spark(table)


def test_a_dropped_source_column_stays_readable(lake: Catalog):
    """Spark itself cannot compact such a table, nor read its files table."""
    table = tables.dropped_source(lake, "rewrite.dropped_source")
    before = check.take(table)
    snowpack.compact(table).completed()
    check.same_rows(table, before)
    check.sound(table)


def test_an_empty_table_has_nothing_to_do(lake: Catalog):
    table = lake.create("rewrite.empty", "id bigint")
    before = check.footprint(table)
    assert snowpack.compact(table).completed().message.startswith("Nothing to do")
    assert check.footprint(table) == before


def test_dry_run_tells_and_touches_nothing(lake: Catalog):
    table = tables.unpartitioned(lake, "rewrite.dry")
    before = check.footprint(table)
    outcome = snowpack.run(table, "rewrite_data_files", "expire_snapshots", dry_run=True).completed()
    assert [result["message"] for result in outcome.results] == ["dry run", "dry run"]
    assert all("preview" in result for result in outcome.results)
    assert check.footprint(table) == before


def test_new_files_obey_the_write_properties(lake: Catalog):
    """Codec and bloom filters as the table asks, and statistics of exactly the columns that are to have them."""
    table = tables.parquet_settings(lake, "rewrite.properties")
    table.sql("""alter table {t} set tblproperties ('write.metadata.metrics.column.name' = 'truncate(3)',
        'write.metadata.metrics.column.ratio' = 'none', 'write.metadata.metrics.default' = 'counts')""")
    snowpack.compact(table).completed()
    (path,) = table.data_files()
    footer = pq.ParquetFile(path).metadata
    assert footer.num_row_groups > 1
    for index in range(footer.num_columns):
        assert footer.row_group(0).column(index).compression == "GZIP"
    (metrics,) = table.metadata_table("data_files", "readable_metrics")[0]
    assert (metrics.id.value_count, metrics.id.lower_bound, metrics.id.upper_bound) == (1200, None, None)
    assert (metrics.name.lower_bound, metrics.name.upper_bound) == ("nam", "nan")
    assert metrics.ratio.value_count is None


def test_new_files_go_where_the_properties_say(lake: Catalog):
    table = tables.data_elsewhere(lake, "rewrite.places")
    snowpack.compact(table).completed()
    (path,) = table.data_files()
    assert path.parent == table.folder() / "moved data"
    assert local_path(table.metadata_location()).parent == table.folder() / "moved-metadata"
