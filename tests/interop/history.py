"""A table with a past: branches, tags, staged writes, a rollback, and snapshots spread over thirty days."""

import time

from lake import Catalog, Table
from tables import MERGE_ON_READ

AGE_DAYS = 30
_DAY_MS = 86_400_000


def history(catalog: Catalog, name: str) -> Table:
    """Snapshots that Java's rules of expiry treat each in its own way, and a schema and a spec no longer in use."""
    table = catalog.create(name, "id bigint, v string", "truncate(100, id)",
                           **MERGE_ON_READ, **{"write.wap.enabled": "true"})
    _append(table, 0)
    _append(table, 50)
    table.sql("alter table {t} create tag `kept for ever`")
    table.sql("delete from {t} where id % 10 = 0")
    table.sql("alter table {t} create tag short_lived retain 1 days")
    _append(table, 100)
    table.sql("alter table {t} create branch audit retain 30 days with snapshot retention 2 snapshots 3 days")
    for start in (10_000, 10_100, 10_200):
        _append(table, start, ".branch_audit")
    table.sql("alter table {t} create branch dead retain 1 days")
    _append(table, 20_000, ".branch_dead")
    table.sql("insert overwrite {t} select id, 'overwritten' from range(0, 30)")
    _stage(table, "never published", 30_000)
    _stage(table, "published", 31_000)
    table.sql("call {system}.publish_changes('{name}', 'published')")
    good = table.java().currentSnapshot().snapshotId()
    _append(table, 40_000)
    table.sql(f"call {{system}}.rollback_to_snapshot('{{name}}', {good})")
    for start in range(50_000, 50_400, 100):
        _append(table, start)
    table.sql("alter table {t} add column added int")
    table.sql("alter table {t} add partition field bucket(4, id)")
    table.sql("alter table {t} drop column added")
    table.edit_metadata(spread_over_days)
    return table


def _append(table: Table, start: int, branch: str = "") -> None:
    table.sql(f"insert into {{t}}{branch} select id, concat('v', id) from range({start}, {start} + 40)")


def _stage(table: Table, wap_id: str, start: int) -> None:
    """Writes a snapshot that no branch leads to."""
    settings = table.catalog.session.conf
    settings.set("spark.wap.id", wap_id)
    _append(table, start)
    settings.unset("spark.wap.id")


def spread_over_days(metadata: dict) -> None:
    """Dates the snapshots evenly over AGE_DAYS, the newest a minute old, and the logs with them."""
    snapshots = sorted(metadata["snapshots"], key=lambda snapshot: (snapshot.get("sequence-number", 0), snapshot["timestamp-ms"]))
    newest = int(time.time() * 1000) - 60_000
    step = AGE_DAYS * _DAY_MS // (len(snapshots) - 1)
    dates = {}
    for age, snapshot in enumerate(reversed(snapshots)):
        snapshot["timestamp-ms"] = dates[snapshot["snapshot-id"]] = newest - age * step
    latest = 0
    for entry in metadata["snapshot-log"]:
        # A rollback enters an old snapshot again, and the log must not run backwards.
        latest = entry["timestamp-ms"] = max(latest, dates[entry["snapshot-id"]])
    for age, entry in enumerate(reversed(metadata["metadata-log"])):
        entry["timestamp-ms"] = newest - age * _DAY_MS
    metadata["last-updated-ms"] = newest


def days_ago(days: float) -> int:
    """Milliseconds since 1970, as options take them."""
    return int(time.time() * 1000) - int(days * _DAY_MS)
