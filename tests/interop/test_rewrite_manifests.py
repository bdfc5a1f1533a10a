"""rewrite_manifests: the entries Spark's own procedure keeps, in as few manifests, and every snapshot still readable."""

import pytest

import check
import snowpack
import tables
from content import current_rows
from lake import Catalog, Table

ENTRY = "status, snapshot_id, sequence_number, file_sequence_number, data_file.file_path, data_file.content"


def entries(table: Table) -> set:
    """Live entries of the current snapshot with all their numbers; whether a manifest calls them added or existing is
    what a rewrite changes."""
    return {tuple(row)[1:] for row in table.metadata_table("entries", ENTRY) if row.status < 2}


def dead_entries(table: Table) -> int:
    return sum(row.status == 2 for row in table.metadata_table("entries", "status"))


def old_entries(table: Table) -> int:
    """Every distinct entry of every snapshot."""
    return table.sql(f"select count(*) from (select distinct {ENTRY.replace('status, ', '')} from {{t}}.all_entries where status < 2)").first()[0]


def manifests(table: Table) -> list:
    return table.metadata_table("manifests")


def files_told(table: Table) -> list:
    """What planning sees of each file, statistics included."""
    columns = [c for c in table.sql("select * from {t}.files limit 0").columns if c != "readable_metrics"]
    told = (row.asDict() for row in table.metadata_table("files", ", ".join(columns)))
    return sorted(str({name: _statistics(value) for name, value in file.items()}) for file in told)


def _statistics(value):
    """Statistics by column have no order, and having none is the same as not having them."""
    return sorted(value.items()) or None if isinstance(value, dict) else value


def by_spark(table: Table, specs: list[int]) -> tuple[int, set]:
    """How many manifests Spark's procedure leaves, called for every spec, and the entries in them; the table is put
    back afterwards."""
    with table.rewound():
        for spec in specs:
            table.sql(f"call {{system}}.rewrite_manifests(table => '{{name}}', use_caching => false, spec_id => {spec})")
        return len(manifests(table)), entries(table)


def specs_of(table: Table) -> list[int]:
    return sorted({row.partition_spec_id for row in manifests(table)})


def rewrite_like_spark(table: Table) -> snowpack.Outcome:
    """Rewrites: same entries as Spark keeps, in no more manifests, the same rows in every snapshot."""
    before, told, history = check.take(table), files_told(table), old_entries(table)
    spark_count, spark_entries = by_spark(table, specs_of(table))
    before_entries = entries(table)
    outcome = snowpack.run(table, "rewrite_manifests").completed()
    after = manifests(table)
    assert len(after) <= spark_count, outcome.message
    assert entries(table) == before_entries == spark_entries
    assert files_told(table) == told
    assert old_entries(table) == history
    assert dead_entries(table) == 0
    check.same_rows(table, before)
    check.same_refs(table, before)
    check.sound(table)
    assert_converged(table)
    return outcome


def assert_converged(table: Table) -> None:
    settled = check.footprint(table)
    again = snowpack.run(table, "rewrite_manifests").completed()
    assert again.message.startswith("Nothing to do"), again.message
    assert check.footprint(table) == settled


@pytest.mark.parametrize("build", [
    tables.unpartitioned, tables.by_time, tables.by_bucket, tables.by_truncate, tables.by_odd_strings,
    tables.by_identity, tables.every_type, tables.evolved_schema, tables.evolved_spec, tables.version_1, tables.upgraded,
    tables.position_deletes_by_file, tables.position_deletes_by_partition, tables.dangling_deletes,
    tables.data_elsewhere, *tables.EQUALITY,
], ids=lambda build: build.__name__)
def test_same_entries_in_no_more_manifests_than_spark_leaves(lake: Catalog, build: tables.Builder):
    table = build(lake, f"manifests.{build.__name__}")
    # A second commit everywhere, so that there is something to merge.
    table.sql("insert into {t} select * from {t} limit 50")
    rewrite_like_spark(table)


def test_the_summary_says_what_java_says(lake: Catalog):
    table = tables.unpartitioned(lake, "manifests.summary")
    before = check.current_summary(table)
    with table.rewound():
        table.sql("call {system}.rewrite_manifests('{name}')")
        spark = check.current_summary(table)
    outcome = rewrite_like_spark(table)
    ours = check.current_summary(table)
    assert outcome.message == "Rewrote 4 manifests into 1"
    (result,) = outcome.results
    assert result["metrics"].items() >= {"manifests_in": 4, "manifests_out": 1, "entries": 24}.items()
    assert ours["operation"] == spark["operation"] == "replace"
    told = {key for key in spark if key.startswith(("manifests-", "total-", "changed-"))}
    assert {key: ours[key] for key in told} == {key: spark[key] for key in told}
    assert ours["entries-processed"] == "24" and ours["snowpack.action"] == "rewrite_manifests"
    assert ours["total-records"] == before["total-records"]


def test_only_the_spec_asked_for(lake: Catalog):
    table = tables.evolved_spec(lake, "manifests.one_spec")
    table.insert("select id, 'c0', date '2024-01-30' from range(20)")
    before, specs = manifests(table), specs_of(table)
    wanted = table.metadata()["default-spec-id"]
    outcome = snowpack.run(table, "rewrite_manifests", options={"spec_id": wanted, "use_caching": "true"}).completed()
    assert outcome.message.startswith("Rewrote 2 manifests into 1"), outcome.message
    others = {row.path for row in before if row.partition_spec_id != wanted}
    assert others == {row.path for row in manifests(table) if row.partition_spec_id != wanted}
    assert specs_of(table) == specs
    refused = snowpack.run(table, "rewrite_manifests", options={"spec_id": 77}).failed()
    assert "77" in refused.said and "spec_id" in refused.said


def test_a_large_table_is_clustered_by_partition(lake: Catalog):
    """Commits that touch every partition leave manifests that cover them all; afterwards each covers a narrow range."""
    # Bounds of random numbers do not compress, so that few files fill a manifest.
    wide = ", ".join(f"r{index} double" for index in range(12))
    table = lake.create("manifests.clustered", f"part int, {wide}", "part", **{
        "commit.manifest.target-size-bytes": "32768", "commit.manifest-merge.enabled": "false"})
    for seed in range(2):
        numbers = ", ".join(f"rand({seed * 100 + index})" for index in range(12))
        table.insert(f"select cast(id as int), {numbers} from range(200)")
    rewrite_like_spark(table)
    ranges = sorted((int(row.partition_summaries[0].lower_bound), int(row.partition_summaries[0].upper_bound)) for row in manifests(table))
    assert len(ranges) > 1
    assert all(upper <= lower for (_, upper), (lower, _) in zip(ranges, ranges[1:])), ranges


def test_a_dropped_source_column_is_no_obstacle(lake: Catalog):
    """Spark cannot rewrite the manifests of such a table."""
    table = tables.dropped_source(lake, "manifests.dropped_source")
    for start in range(2):
        table.insert(f"select id from range({start}, 50)")
    before = check.take(table)
    snowpack.run(table, "rewrite_manifests").completed()
    check.same_rows(table, before)
    check.sound(table)
    assert_converged(table)


def test_a_promoted_partition_value_has_one_type_afterwards(lake: Catalog):
    """Spark cannot read such a table's older snapshots, so only the current one is compared."""
    table = lake.create("manifests.promoted", "id bigint, part int", "part")
    table.insert("select id, cast(id % 3 as int) from range(30)")
    table.sql("alter table {t} alter column part type bigint")
    table.insert("select id, id % 3 + 4000000000 from range(30)")
    rows, before = current_rows(table), entries(table)
    assert snowpack.run(table, "rewrite_manifests").completed().message == "Rewrote 2 manifests into 1"
    assert (current_rows(table), entries(table)) == (rows, before)
    assert table.sql("select count(*) from {t} where part = 1").first()[0] == 10
    check.sound(table)
    assert_converged(table)


def test_spark_writes_on_after_a_rewrite(lake: Catalog):
    """Deletes and updates find their files in the new manifests, and an older snapshot can be restored."""
    table = tables.position_deletes_by_partition(lake, "manifests.continued")
    snapshot = table.java().currentSnapshot().snapshotId()
    before = check.take(table)
    rewrite_like_spark(table)
    count = before.rows.count
    table.sql("delete from {t} where id = 500")
    table.sql("update {t} set v = 'after' where id = 501")
    assert table.sql("select count(*) from {t}").first()[0] == count - 1
    check.sound(table)
    table.sql(f"call {{system}}.rollback_to_snapshot('{{name}}', {snapshot})")
    assert check.take(table).rows == before.rows


def test_a_dry_run_tells_and_touches_nothing(lake: Catalog):
    table = tables.unpartitioned(lake, "manifests.dry")
    before = check.footprint(table)
    (result,) = snowpack.run(table, "rewrite_manifests", dry_run=True).completed().results
    numbers = result["preview"]["numbers"] if "numbers" in result["preview"] else result["preview"]
    assert (numbers["manifests_in"], numbers["manifests_out"]) == (4, 1)
    assert check.footprint(table) == before
