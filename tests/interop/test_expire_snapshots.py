"""expire_snapshots: the snapshots, refs and files Spark's own procedure leaves, and not one file more or less."""

import datetime
from dataclasses import dataclass

import pytest

import check
import snowpack
from history import days_ago, history
from lake import Catalog, Table

# Spark keeps one snapshot where we keep three, unless the table or the caller says how many.
OUR_DEFAULTS = {"retain_last": 3}


@dataclass(frozen=True)
class Left:
    """What an expiry left of a table."""

    snapshots: set[int]
    refs: dict[str, tuple[str, int]]
    gone: set[str]
    schemas: set[int]
    specs: set[int]


def left(table: Table, files_before: dict[str, int]) -> Left:
    metadata = table.metadata()
    return Left(
        {snapshot["snapshot-id"] for snapshot in metadata["snapshots"]},
        check.refs(table),
        files_before.keys() - table.files().keys(),
        {schema["schema-id"] for schema in metadata["schemas"]},
        {spec["spec-id"] for spec in metadata["partition-specs"]},
    )


def by_spark(table: Table, options: dict) -> Left:
    """What Spark leaves of the table, which is put back afterwards."""
    arguments = ["table => '{name}'"]
    for key, value in options.items():
        if key == "older_than":
            value = f"timestamp '{datetime.datetime.fromtimestamp(value / 1000, datetime.UTC):%F %T.%f}'"
        elif key == "snapshot_ids":
            value = f"array({value})"
        arguments.append(f"{key} => {value}")
    files = table.files()
    with table.rewound():
        table.sql(f"call {{system}}.expire_snapshots({', '.join(arguments)})")
        return left(table, files)


def expire_like_spark(table: Table, options: dict, spark_options: dict | None = None) -> Left:
    """Expires, and finds the table as Spark leaves it with its own options (default: the same and our defaults)."""
    before, files = check.take(table), table.files()
    spark = by_spark(table, OUR_DEFAULTS | options if spark_options is None else spark_options)
    outcome = snowpack.run(table, "expire_snapshots", options=options).completed()
    found = left(table, files)
    assert found == spark, outcome.message
    expired = len(before.snapshots) - len(found.snapshots)
    assert outcome.message.startswith(f"Expired {expired} snapshot" if expired else "Nothing to do"), outcome.message
    check.same_rows(table, before, kept=found.snapshots)
    check.sound(table)
    return found


@pytest.fixture(scope="module")
def aged(lake: Catalog) -> Table:
    return history(lake, "expire.history")


@pytest.fixture
def past(aged: Table):
    """The table with a past, put back after each test."""
    with aged.rewound():
        yield aged


@pytest.mark.parametrize("options", [
    {},
    {"older_than": days_ago(12)},
    {"older_than": days_ago(0), "retain_last": 1},
    {"older_than": days_ago(2), "retain_last": 6},
    {"older_than": days_ago(1000)},
    {"clean_expired_metadata": "true"},
], ids=lambda options: "-".join(options) or "defaults")
def test_leaves_what_spark_leaves(past: Table, options: dict):
    expire_like_spark(past, options)
    check.pyiceberg_reads(past)
    settled = check.footprint(past)
    again = snowpack.run(past, "expire_snapshots", options=options).completed()
    assert again.message.startswith("Nothing to do"), again.message
    assert check.footprint(past) == settled


def test_properties_stand_in_for_options(past: Table):
    days = 86_400_000
    past.sql(f"""alter table {{t}} set tblproperties ('history.expire.min-snapshots-to-keep' = '2',
        'history.expire.max-snapshot-age-ms' = '{20 * days}', 'history.expire.max-ref-age-ms' = '{15 * days}')""")
    found = expire_like_spark(past, {}, spark_options={})
    assert "dead" not in found.refs and "main" in found.refs


def test_named_snapshots_go_whatever_their_age(past: Table):
    referenced = {id for _, id in check.refs(past).values()}
    newest_first = past.sql("select snapshot_id from {t}.snapshots order by committed_at desc").collect()
    chosen = [row.snapshot_id for row in newest_first if row.snapshot_id not in referenced][:2]
    options = {"snapshot_ids": ",".join(map(str, chosen)), "older_than": days_ago(1000)}
    found = expire_like_spark(past, options)
    assert not set(chosen) & found.snapshots


def test_a_referenced_snapshot_is_not_expired_by_name(past: Table):
    """Java refuses to expire a snapshot that a ref names. Nothing happens then."""
    tagged = check.refs(past)["kept for ever"][1]
    before = check.footprint(past)
    outcome = snowpack.run(past, "expire_snapshots", options={"snapshot_ids": tagged}).failed()
    assert str(tagged) in outcome.said
    assert check.footprint(past) == before


def test_no_file_is_deleted_when_gc_is_disabled(past: Table):
    """Java refuses to expire such a table. We may drop snapshots, but never a file, and say so."""
    past.sql("alter table {t} set tblproperties ('gc.enabled' = 'false')")
    before, files = check.take(past), past.files()
    outcome = snowpack.run(past, "expire_snapshots", options={"older_than": days_ago(0)})
    assert "gc.enabled" in outcome.said
    assert files.items() <= past.files().items()
    check.same_rows(past, before, kept={row.snapshot_id for row in past.metadata_table("snapshots")})


def test_after_a_compaction_the_old_files_go(lake: Catalog):
    """Both actions in one run, named in the wrong order."""
    table = lake.create("expire.compacted", "id bigint", **{
        "write.metadata.delete-after-commit.enabled": "true", "write.metadata.previous-versions-max": "3",
    })
    for start in range(0, 600, 100):
        table.insert(f"select id from range({start}, {start} + 100)", 2)
    before = check.take(table)
    options = {"expire_snapshots.older_than": days_ago(-1), "expire_snapshots.retain_last": 1}
    outcome = snowpack.run(table, "expire_snapshots", "rewrite_data_files", options=options).completed()
    assert [result["message"] for result in outcome.results] == ["Compacted 12 files into 1 files", "Expired 6 snapshots"]
    check.same_rows(table, before, kept=())
    check.sound(table)
    names = [path.rpartition("/")[2] for path in table.files()]
    assert sum(name.endswith(".parquet") for name in names) == 1
    # One manifest list, and three old metadata files beside the current one.
    assert sum(name.startswith("snap-") for name in names) == 1
    assert sum(name.endswith(".metadata.json") for name in names) == 4
