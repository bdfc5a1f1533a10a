"""remove_orphan_files: the files Spark's own procedure removes, and never one that anything may still need."""

import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

import check
import snowpack
import tables
from java_writer import JavaWriter
from lake import Catalog, Table, local_path

_DAY = 86_400
ACTION = "remove_orphan_files"
# Orphans of these small tables are as large as the tables.
LOOSE = {"max_orphan_ratio": 1}


def age(path: Path, days: float) -> Path:
    """Makes a file look older."""
    then = time.time() - days * _DAY
    os.utime(path, (then, then))
    return path


def age_all(table: Table, days: float = 10) -> None:
    for path in table.folder().rglob("*"):
        if path.is_file():
            age(path, days)


def plant(table: Table, name: str, days: float = 10, content: bytes = b"left behind") -> str:
    """An unreferenced file of that age, with Hadoop's checksum beside it."""
    path = table.folder() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    age(path, days)
    checksum = path.with_name(f".{path.name}.crc")
    if not path.name.startswith("."):
        age(checksum if checksum.exists() else _touch(checksum), days)
    return name


def _touch(path: Path) -> Path:
    path.write_bytes(b"crc")
    return path


def removed_by_spark(table: Table, arguments: str = "") -> set[str]:
    """What Spark removes from the table, which is put back afterwards."""
    before = table.files()
    with table.rewound():
        table.sql(f"call {{system}}.remove_orphan_files(table => '{{name}}'{arguments})")
        return before.keys() - table.files().keys()


def removed_by_us(table: Table, **options: object) -> set[str]:
    """What we remove, the dry run before it having said so."""
    before, picture = table.files(), check.take(table)
    dry = snowpack.run(table, ACTION, options={**LOOSE, **options, "dry_run": "true"}).completed()
    assert table.files() == before
    outcome = snowpack.run(table, ACTION, options={**LOOSE, **options}).completed()
    gone = before.keys() - table.files().keys()
    (said,), (done,) = dry.results, outcome.results
    assert said["metrics"] == done["metrics"]
    assert done["metrics"]["orphans"] == len(gone)
    assert done["metrics"]["bytes"] == sum(before[name] for name in gone)
    if gone:
        plural = "" if len(gone) == 1 else "s"
        assert outcome.message.startswith(f"Removed {len(gone)} orphan file{plural} ("), outcome.message
        assert dry.message.startswith(f"Would remove {len(gone)} orphan file{plural} ("), dry.message
    else:
        assert outcome.message.startswith("Nothing to do"), outcome.message
    check.same_rows(table, picture)
    check.same_refs(table, picture)
    check.sound(table)
    again = snowpack.run(table, ACTION, options={**LOOSE, **options}).completed()
    assert again.message.startswith("Nothing to do"), again.message
    return gone


def unpartitioned(catalog: Catalog, name: str) -> Table:
    return tables.unpartitioned(catalog, name)


def with_statistics(catalog: Catalog, name: str) -> Table:
    """Statistics written by Spark: Puffin files beside the metadata."""
    table = catalog.create(name, "id bigint, part int", "part")
    table.insert("select id, cast(id % 2 as int) from range(100)", 2)
    table.sql("call {system}.compute_table_stats(table => '{name}')")
    table.sql("call {system}.compute_partition_stats(table => '{name}')")
    return table


def with_deletes(catalog: Catalog, name: str) -> Table:
    """Position deletes of Spark and equality deletes of a Java writer."""
    table = catalog.create(name, "id bigint, name string", **tables.MERGE_ON_READ)
    table.insert("select id, 'x' from range(100)", 2)
    table.sql("delete from {t} where id % 10 = 3")
    writer = JavaWriter(table)
    writer.commit(deletes=[writer.equality_delete(["name"], [("y",)])])
    return table


def with_refs_and_rollback(catalog: Catalog, name: str) -> Table:
    """Snapshots that only a tag, a branch, or nothing but the metadata reaches."""
    table = tables.unpartitioned(catalog, name)
    first, second, *_ = (row.snapshot_id for row in table.sql("select snapshot_id from {t}.snapshots order by committed_at").collect())
    table.sql(f"alter table {{t}} create tag kept as of version {second}")
    table.sql("alter table {t} create branch side")
    table.sql("insert into {t}.branch_side select 1, 'side', 1.0")
    table.sql("insert overwrite {t} select * from {t} where id < 10")
    table.sql(f"call {{system}}.rollback_to_snapshot('{{name}}', {first})")
    return table


def expired(catalog: Catalog, name: str) -> Table:
    """Snapshots expired by Spark, files and all, and metadata files dropped from the log."""
    table = tables.unpartitioned(catalog, name, **{"write.metadata.previous-versions-max": "2"})
    table.sql("insert overwrite {t} select * from {t} where id < 100")
    table.sql("call {system}.expire_snapshots(table => '{name}', older_than => timestamp '2100-01-01', retain_last => 1)")
    return table


def odd_names(catalog: Catalog, name: str) -> Table:
    return tables.by_odd_strings(catalog, name)


def hidden_partition(catalog: Catalog, name: str) -> Table:
    """A partition field that starts like a hidden folder."""
    table = catalog.create(name, "id bigint, _part string", "_part")
    table.insert("select id, cast(id % 3 as string) from range(30)", 2)
    return table


KINDS = [unpartitioned, with_statistics, with_deletes, with_refs_and_rollback, expired, odd_names, hidden_partition]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_removes_what_spark_removes(lake: Catalog, kind: Callable[[Catalog, str], Table]):
    table = kind(lake, f"orphans.{kind.__name__}")
    age_all(table)
    for name in [
        "data/00000-0-failed-00001.parquet", "data/_part=1/left.parquet", "data/a=b%2Fc/x y+z.parquet",
        "metadata/failed-m0.avro", "metadata/snap-1-1-failed.avro", "metadata/00099-failed.metadata.json",
        "metadata/old.stats", "stray", "deep/er/and/deeper/file", "data/_temporary/0/task/part", "data/_SUCCESS",
        "metadata/version-hint.text",
    ]:
        plant(table, name)
    plant(table, "data/young.parquet", days=2)
    plant(table, "data/edge.parquet", days=3.01)
    gone = removed_by_spark(table)
    assert {"stray", "data/edge.parquet", "data/_part=1/left.parquet"} & gone >= {"stray", "data/edge.parquet"}
    assert "data/young.parquet" not in gone and "metadata/version-hint.text" not in gone
    assert removed_by_us(table) == gone


def test_files_of_failed_writers(lake: Catalog):
    """Data, manifests and metadata of commits that never came through."""
    table = tables.unpartitioned(lake, "orphans.failed")
    kept = table.files().keys()
    # What a writer leaves that dies before the catalog hears of its commit.
    location = table.metadata_location()
    table.insert("select id, 'lost', 0.5 from range(500)", 3)
    table._point_at(location)
    lost = table.files().keys() - kept
    assert len(lost) >= 6
    age_all(table)
    assert removed_by_spark(table) == lost
    assert removed_by_us(table) == lost


def test_hadoop_checksums_stay_hidden(lake: Catalog):
    table = tables.unpartitioned(lake, "orphans.crc")
    age_all(table)
    plant(table, "data/x.parquet")
    checksums = {path for path in table.folder().rglob(".*.crc")}
    assert removed_by_us(table) == {"data/x.parquet"}
    assert checksums == {path for path in table.folder().rglob(".*.crc")}


def test_a_location_of_ones_own_and_an_age(lake: Catalog):
    table = tables.unpartitioned(lake, "orphans.location")
    age_all(table)
    for name in ["data/a", "data/sub/b", "metadata/c"]:
        plant(table, name, days=1.5)
    days = int((time.time() - 1.2 * _DAY) * 1000)
    spark_time = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(days / 1000))
    location = f"{table.java().location()}/data"
    gone = removed_by_spark(table, f", older_than => timestamp '{spark_time}', location => '{location}'")
    assert gone == {"data/a", "data/sub/b"}
    assert removed_by_us(table, older_than=days, location=location) == gone


def test_what_an_older_metadata_file_still_reaches_stays(lake: Catalog):
    """An expiry that died before it deleted anything. Spark removes what the current metadata does not know; we wait
    until the metadata files that could bring it back have left the log."""
    table = tables.unpartitioned(lake, "orphans.unexpired")
    table.sql("insert overwrite {t} select * from {t} where id < 100")
    current = table.java().currentSnapshot().snapshotId()

    def expire(metadata: dict) -> None:
        log = {"metadata-file": table.metadata_location(), "timestamp-ms": metadata["last-updated-ms"]}
        metadata["metadata-log"].append(log)
        metadata["snapshots"] = [s for s in metadata["snapshots"] if s["snapshot-id"] == current]
        metadata["snapshot-log"] = [s for s in metadata["snapshot-log"] if s["snapshot-id"] == current]

    table.edit_metadata(expire)
    age_all(table)
    by_spark = removed_by_spark(table)
    assert len(by_spark) > 20
    assert removed_by_us(table) == set()

    def forget(metadata: dict) -> None:
        metadata["metadata-log"] = []

    table.edit_metadata(forget)
    age_all(table)
    assert removed_by_us(table) >= by_spark


def test_young_files_are_never_removed(lake: Catalog):
    table = tables.unpartitioned(lake, "orphans.floor")
    age_all(table)
    plant(table, "data/a", days=0.9)
    before = table.files()
    now = int(time.time() * 1000)
    for older_than in (now, now - 23 * 3_600_000, now + _DAY * 1000):
        for dry_run in ("true", "false"):
            options = {**LOOSE, "older_than": older_than, "dry_run": dry_run}
            outcome = snowpack.run(table, ACTION, options=options).failed()
            assert "older_than" in outcome.said and "24 hours" in outcome.said
    options = {**LOOSE, "older_than": now - 24 * 3_600_000 - 60_000}
    assert snowpack.run(table, ACTION, options=options).completed().message.startswith("Nothing to do")
    assert table.files() == before


def test_garbage_collection_switched_off(lake: Catalog):
    """Java refuses such a table. We do nothing and say so."""
    table = tables.unpartitioned(lake, "orphans.no_gc", **{"gc.enabled": "false"})
    plant(table, "data/a")
    before = table.files()
    outcome = snowpack.run(table, ACTION, options=LOOSE).completed()
    assert outcome.message.startswith("Nothing to do") and "gc.enabled" in outcome.message
    assert table.files() == before


def test_the_brake(lake: Catalog):
    table = tables.unpartitioned(lake, "orphans.brake")
    age_all(table)
    plant(table, "data/big", content=bytes(sum(table.files().values()) + 1))
    before = table.files()
    outcome = snowpack.run(table, ACTION).failed()
    assert "max_orphan_ratio" in outcome.said and "look dead" in outcome.said
    assert table.files() == before
    assert removed_by_us(table, max_orphan_ratio=0.6) == {"data/big"}


def test_nested_tables(lake: Catalog):
    """A table inside another one's folder: refused when the catalog knows it, left alone when only its files tell."""
    outer = tables.unpartitioned(lake, "orphans.outer")
    location = f"{outer.java().location()}/data/nested"
    lake.session.sql(f"create table {lake.name}.orphans.inner (id bigint) using iceberg location '{location}'")
    inner = Table(lake, "orphans.inner")
    inner.insert("select id from range(10)")
    age_all(outer)
    plant(outer, "data/a")
    before = outer.files()
    outcome = snowpack.run(outer, ACTION, options=LOOSE).failed()
    assert "orphans.inner" in outcome.said and "contains" in outcome.said
    assert outer.files() == before
    assert removed_by_us(inner) == set()
    # Dropped from the catalog, its files kept.
    inner.sql("drop table {t}")
    assert removed_by_us(outer) == {"data/a"}
    assert any("nested" in name for name in outer.files())


@pytest.mark.parametrize("location, named", [
    ("file:/", "whole bucket or file system"), ("s3://bucket", "whole bucket or file system"),
    ("{warehouse}", "does not lie within"), ("{folder}/../elsewhere", "does not lie within"),
    ("{folder}x", "does not lie within"), ("s3://bucket/orphans/places", "does not lie within"),
])
def test_locations_that_are_not_the_tables(lake: Catalog, location: str, named: str):
    name = f"orphans.place_{uuid.uuid4().hex[:8]}"
    table = tables.unpartitioned(lake, name)
    plant(table, "data/a")
    before = table.files()
    location = location.format(warehouse=f"file:{lake.warehouse}", folder=f"file:{table.folder()}")
    assert named in snowpack.run(table, ACTION, options={**LOOSE, "location": location}).failed().said
    assert table.files() == before


def test_data_written_elsewhere(sound_lake: Catalog, scratch: Path):
    """`write.data.path` outside of the table: looked at when it is this table's alone."""
    elsewhere = scratch / "elsewhere" / "orphans"
    table = tables.unpartitioned(sound_lake, "orphans.elsewhere", **{"write.data.path": f"file:{elsewhere}"})
    age_all(table)
    for path in elsewhere.rglob("*.parquet"):
        age(path, 10)
    (elsewhere / "left.parquet").write_bytes(b"left behind")
    age(elsewhere / "left.parquet", 10)
    before = check.take(table)
    parquet = sorted(elsewhere.rglob("*.parquet"))
    sharer = sound_lake.create("orphans.sharer", "id bigint", **{"write.data.path": f"file:{elsewhere}/sub"})
    shared = snowpack.run(table, ACTION, options=LOOSE).completed().message
    assert shared.startswith("Nothing to do")
    assert shared.endswith("orphans was not looked at: it may hold files of orphans.sharer")
    assert sorted(elsewhere.rglob("*.parquet")) == parquet
    sharer.sql("drop table {t}")
    outcome = snowpack.run(table, ACTION, options=LOOSE).completed()
    assert outcome.message == "Removed 1 orphan file (11 B)"
    assert not (elsewhere / "left.parquet").exists()
    check.same_rows(table, before)


def test_prefixes_that_differ(lake: Catalog):
    """Metadata that names a listed file by another scheme, as after a move between file systems."""
    table = tables.unpartitioned(lake, "orphans.prefix")
    stray = table.folder() / "metadata" / "moved.stats"

    def add_statistics(metadata: dict) -> None:
        metadata["statistics"] = [{
            "snapshot-id": metadata["current-snapshot-id"], "statistics-path": f"hdfs://nn{stray}",
            "file-size-in-bytes": 11, "file-footer-size-in-bytes": 1, "blob-metadata": [],
        }]

    previous = local_path(table.metadata_location())
    table.edit_metadata(add_statistics)
    previous.unlink()
    plant(table, "metadata/moved.stats")
    age_all(table)
    before = table.files()
    for arguments in ("", ", prefix_mismatch_mode => 'error'"):
        with pytest.raises(Exception, match="Conflicting authorities/schemes"):
            removed_by_spark(table, arguments)
    outcome = snowpack.run(table, ACTION, options=LOOSE).failed()
    assert "hdfs://nn" in outcome.said and "equal_schemes" in outcome.said
    assert table.files() == before
    equal = {"equal_schemes": "hdfs=file", "equal_authorities": "nn=localhost"}
    for options in ({"prefix_mismatch_mode": "ignore"}, equal):
        outcome = snowpack.run(table, ACTION, options={**LOOSE, **options}).completed()
        assert outcome.message.startswith("Nothing to do"), outcome.message
    assert removed_by_spark(table, ", prefix_mismatch_mode => 'ignore'") == set()
    gone = removed_by_spark(table, ", prefix_mismatch_mode => 'delete'")
    assert gone == {"metadata/moved.stats"}
    outcome = snowpack.run(table, ACTION, options={**LOOSE, "prefix_mismatch_mode": "delete"}).completed()
    assert outcome.message == "Removed 1 orphan file (11 B)"
    assert before.keys() - table.files().keys() == gone


def test_beside_a_concurrent_writer(lake: Catalog):
    """Spark appends and compacts all the while; nothing it writes or still needs is lost."""
    table = tables.unpartitioned(lake, "orphans.busy")
    age_all(table)
    done, failures = threading.Event(), []

    def write() -> None:
        try:
            for number in range(6):
                table.insert(f"select id, 'more', 0.1 from range({number} * 50, {number} * 50 + 50)", 2)
        except Exception as error:  # shown by the assertion below
            failures.append(error)
        finally:
            done.set()

    writer = threading.Thread(target=write)
    writer.start()
    rounds = 0
    while not done.is_set() or rounds < 2:
        planted = plant(table, f"data/left-{rounds}.parquet")
        outcome = snowpack.run(table, ACTION, options=LOOSE).completed()
        assert outcome.message.startswith("Removed 1 orphan file"), outcome.message
        assert planted not in table.files()
        rounds += 1
    writer.join()
    assert not failures
    assert table.sql("select count(*) from {t}").first()[0] == 1200 + 300
    check.sound(table)


def test_a_dry_run_of_the_job_lists_nothing(lake: Catalog):
    table = tables.unpartitioned(lake, "orphans.preview")
    plant(table, "data/a")
    before = table.files()
    outcome = snowpack.run(table, ACTION, dry_run=True)
    assert "dry_run" in json.dumps(outcome.document)
    assert table.files() == before


def test_a_broken_reference_stops_the_action(lake: Catalog):
    table = tables.unpartitioned(lake, "orphans.broken")
    age_all(table)
    plant(table, "data/a")
    manifest = local_path(table.metadata_table("manifests", "path")[0].path)
    saved = manifest.with_name(f"_{manifest.name}")
    shutil.move(manifest, saved)
    before = table.files()
    assert manifest.name in snowpack.run(table, ACTION, options=LOOSE).failed().said
    assert table.files() == before
    shutil.move(saved, manifest)
