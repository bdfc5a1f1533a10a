"""What rows a table holds, as digests that do not depend on their order."""

from dataclasses import dataclass

from lake import Table

# The text form tells -0.0 from 0.0 and null from nothing, which the hash alone does not; the hash tells a string
# "null" from null, which the text does not.
_ROW_HASH = "xxhash64(struct(*), cast(struct(*) as string))"
_DIGEST = f"count(*) as row_count, cast(sum(cast({_ROW_HASH} as decimal(38, 0))) as string) as digest"


@dataclass(frozen=True)
class Rows:
    """Number and digest of a multiset of rows."""

    count: int
    digest: str | None


def current_rows(table: Table) -> Rows:
    (row,) = table.sql(f"select {_DIGEST} from {{t}}").collect()
    return Rows(row.row_count, row.digest)


def rows_by_snapshot(table: Table) -> dict[int, Rows]:
    """Rows of every snapshot in the table's metadata, on any branch or none, read by Spark in one query."""
    ids = [row.snapshot_id for row in table.metadata_table("snapshots", "snapshot_id")]
    if not ids:
        return {}
    scans = (f"select {id} as snapshot, {_DIGEST} from {{t}} version as of {id}" for id in ids)
    return {row.snapshot: Rows(row.row_count, row.digest) for row in table.sql(" union all ".join(scans)).collect()}
