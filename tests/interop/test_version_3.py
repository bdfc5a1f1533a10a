"""Format version 3: deletion vectors are applied and removed, and every row keeps its lineage."""

import pytest

import check
import snowpack
import tables
from lake import Catalog, Table, local_path
from test_rewrite_data_files import compact_like_spark, counts

V3 = {"format-version": "3", **tables.MERGE_ON_READ}


def lineage(table: Table) -> list[tuple]:
    """Which row is which and when it last changed, as Spark reads it."""
    return sorted(map(tuple, table.sql("select id, _row_id, _last_updated_sequence_number from {t}").collect()))


def with_vectors(catalog: Catalog, name: str, partitioned: str = "", **properties: str) -> Table:
    table = catalog.create(name, "id bigint, category string, v string", partitioned, **{**V3, **properties})
    table.insert("select id, concat('c', id % 2), concat('v', id) from range(1000)", tables.MANY)
    table.sql("delete from {t} where id % 20 = 1")
    table.sql("update {t} set v = concat(v, ' updated') where id % 20 = 7")
    table.insert("select id + 1000, concat('c', id % 2), 'late' from range(100)", 3)
    table.sql("delete from {t} where id % 20 = 2")
    return table


def unpartitioned(catalog: Catalog, name: str) -> Table:
    return with_vectors(catalog, name)


def partitioned(catalog: Catalog, name: str) -> Table:
    return with_vectors(catalog, name, "category")


def upgraded(catalog: Catalog, name: str) -> Table:
    """Position-delete files of version 2, vectors of version 3, and files that got their row ids on the way."""
    table = with_vectors(catalog, name, **{"format-version": "2"})
    table.sql("alter table {t} set tblproperties ('format-version' = '3')")
    table.sql("delete from {t} where id % 20 = 3")
    table.insert("select id + 5000, 'c1', 'new' from range(10)", 2)
    return table


def evolved_spec(catalog: Catalog, name: str) -> Table:
    table = with_vectors(catalog, name, "category")
    table.sql("alter table {t} add partition field bucket(2, id)")
    table.insert("select id + 2000, 'c1', 'new' from range(100)", 2)
    return table


@pytest.mark.parametrize("build", [unpartitioned, partitioned, upgraded, evolved_spec], ids=lambda build: build.__name__)
def test_rows_keep_their_lineage(lake: Catalog, build):
    table = build(lake, f"v3.{build.__name__}")
    before = lineage(table)
    assert all(row_id is not None for _, row_id, _ in before)
    compact_like_spark(table)
    assert lineage(table) == before
    assert counts(table)["delete-files"] == 0
    check.partitions_hold_their_rows(table)
    settled = check.footprint(table)
    assert snowpack.compact(table).completed().message.startswith("Nothing to do")
    assert check.footprint(table) == settled
    # Stored ids are read again, beside rows that inherit theirs.
    table.sql("update {t} set v = 'again' where id % 50 = 0")
    table.insert("select id + 9000, 'c0', 'last' from range(50)", tables.MANY)
    before = lineage(table)
    compact_like_spark(table, rewrite_all="true")
    assert lineage(table) == before


def test_row_ids_are_never_given_twice(lake: Catalog):
    """Snowpack's commit and Spark's next one count the table's row ids on."""
    table = unpartitioned(lake, "v3.row_ids")
    snowpack.compact(table).completed()
    table.insert("select id + 7000, 'c0', 'x' from range(100)", 2)
    ids = [row_id for _, row_id, _ in lineage(table)]
    assert None not in ids and len(set(ids)) == len(ids)
    assert table.metadata()["next-row-id"] > max(ids)


def test_files_that_became_version_3_without_a_new_commit(lake: Catalog):
    """No snapshot has assigned row ids yet: the rewrite's commit does."""
    table = tables.unpartitioned(lake, "v3.just_upgraded")
    table.sql("alter table {t} set tblproperties ('format-version' = '3')")
    compact_like_spark(table)
    ids = [row_id for _, row_id, _ in lineage(table)]
    assert None not in ids and len(set(ids)) == len(ids)


def test_compaction_of_some_partitions_keeps_the_other_vectors(lake: Catalog):
    table = with_vectors(lake, "v3.half", "category")
    before, rows = lineage(table), check.take(table)
    snowpack.compact(table, max_files_to_rewrite=6).completed()
    assert lineage(table) == before
    check.same_rows(table, rows)
    check.pyiceberg_reads(table)


def test_expired_vectors_go(lake: Catalog):
    table = unpartitioned(lake, "v3.expired")
    before = lineage(table)
    snowpack.run(table, "rewrite_data_files", "expire_snapshots",
                 options={"expire_snapshots.older_than": 4_000_000_000_000, "expire_snapshots.retain_last": 1}).completed()
    assert lineage(table) == before
    assert not [name for name in table.files() if name.endswith(".puffin")]
    assert counts(table) == {"data-files": 1, "delete-files": 0, "equality-deletes": 0}


def test_a_broken_vector_fails_the_run_and_is_named(lake: Catalog):
    table = unpartitioned(lake, "v3.broken")
    vector = table.metadata_table("delete_files", "file_path, content_offset")[0]
    puffin = local_path(vector.file_path)
    content = bytearray(puffin.read_bytes())
    content[vector.content_offset + 12] ^= 0xFF
    puffin.write_bytes(content)
    before = check.footprint(table)
    outcome = snowpack.compact(table).failed()
    assert puffin.name in outcome.said
    assert check.footprint(table) == before


def test_manifests_and_orphans_leave_lineage_and_vectors_alone(lake: Catalog):
    table = partitioned(lake, "v3.manifests")
    before, rows = lineage(table), check.take(table)
    deletes = counts(table)["delete-files"]
    snowpack.run(table, "rewrite_manifests", "remove_orphan_files").completed()
    assert lineage(table) == before
    assert counts(table)["delete-files"] == deletes > 0
    check.same_rows(table, rows)
    assert "Nothing to do" in snowpack.run(table, "rewrite_manifests").completed().said
    table.insert("select id + 7000, 'c0', 'x' from range(100)", 2)
    ids = [row_id for _, row_id, _ in lineage(table)]
    assert None not in ids and len(set(ids)) == len(ids)
