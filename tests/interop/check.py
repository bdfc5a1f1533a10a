"""What must hold of a table after maintenance, whatever was done to it."""

from collections.abc import Iterable
from dataclasses import dataclass

from pyiceberg.manifest import DataFileContent
from pyiceberg.table import StaticTable

from content import Rows, current_rows, rows_by_snapshot
from lake import Table, local_path
from plain import plain_rows


@dataclass(frozen=True)
class Picture:
    """What a table held at one moment."""

    rows: Rows
    snapshots: dict[int, Rows]
    refs: dict[str, tuple[str, int]]


def take(table: Table) -> Picture:
    return Picture(current_rows(table), rows_by_snapshot(table), refs(table))


def footprint(table: Table) -> tuple[str, dict[str, int]]:
    """The metadata file and all files: equal before and after when nothing was touched, and nothing left behind."""
    return table.metadata_location(), table.files()


def refs(table: Table) -> dict[str, tuple[str, int]]:
    return {row.name: (row.type, row.snapshot_id) for row in table.metadata_table("refs")}


def same_rows(table: Table, before: Picture, kept: Iterable[int] | None = None) -> None:
    """Spark reads the same rows now and in every old snapshot that had to be kept (default: all of them)."""
    assert current_rows(table) == before.rows
    now = rows_by_snapshot(table)
    for snapshot in before.snapshots if kept is None else kept:
        assert now.get(snapshot) == before.snapshots[snapshot], f"snapshot {snapshot} reads differently"


def same_refs(table: Table, before: Picture, gone: Iterable[str] = ()) -> None:
    """Every branch and tag is where it was; main may have moved on."""
    expected = {name: ref for name, ref in before.refs.items() if name not in gone}
    found = refs(table)
    assert found.keys() == expected.keys()
    moved = {name for name in expected if found[name] != expected[name]}
    assert moved <= {"main"}, f"refs moved: {moved}"


def sound(table: Table) -> None:
    """Metadata, manifests and files agree: read by PyIceberg, which shares no code with Spark or snowpack."""
    static = StaticTable.from_metadata(table.metadata_location())
    metadata = static.metadata
    for entry in metadata.metadata_log:
        assert local_path(entry.metadata_file).exists(), f"{entry.metadata_file} is logged and missing"
    manifests = {}
    for snapshot in metadata.snapshots:
        _check_snapshot(static, snapshot, manifests)
    if metadata.format_version > 1:
        highest = max((snapshot.sequence_number for snapshot in metadata.snapshots), default=0)
        assert highest <= metadata.last_sequence_number
    _check_totals(static, _vector_sizes(table))


def _check_snapshot(static: StaticTable, snapshot, seen: dict) -> None:
    """Every file the snapshot names exists with the size given, and sequence numbers do not run ahead."""
    for manifest in snapshot.manifests(static.io):
        assert manifest.sequence_number <= (snapshot.sequence_number or 0), manifest.manifest_path
        assert manifest.min_sequence_number <= manifest.sequence_number, manifest.manifest_path
        if manifest.manifest_path in seen:
            continue
        seen[manifest.manifest_path] = manifest
        assert local_path(manifest.manifest_path).stat().st_size == manifest.manifest_length, manifest.manifest_path
        entries = manifest.fetch_manifest_entry(static.io, discard_deleted=True)
        assert manifest.has_added_files() or manifest.has_existing_files() or not entries
        for entry in entries:
            size = local_path(entry.data_file.file_path).stat().st_size
            assert size == entry.data_file.file_size_in_bytes, entry.data_file.file_path
            assert (entry.sequence_number or 0) <= manifest.sequence_number, entry.data_file.file_path


def _vector_sizes(table: Table) -> dict[str, list[int]]:
    """Sizes of the live deletion vectors by Puffin file, from Spark: PyIceberg does not tell where in it they are."""
    sizes: dict[str, list[int]] = {}
    if table.java().operations().current().formatVersion() < 3:
        return sizes
    places = set()
    for row in table.metadata_table("delete_files where content_offset is not null"):
        assert (row.file_path, row.content_offset) not in places, "a vector is listed twice"
        places.add((row.file_path, row.content_offset))
        sizes.setdefault(row.file_path, []).append(row.content_size_in_bytes)
    return sizes


def _check_totals(static: StaticTable, vectors: dict[str, list[int]]) -> None:
    """The current summary's totals equal what the manifests hold, and no file is listed twice."""
    snapshot = static.current_snapshot()
    if snapshot is None:
        return
    files = [
        entry.data_file
        for manifest in snapshot.manifests(static.io)
        for entry in manifest.fetch_manifest_entry(static.io, discard_deleted=True)
    ]
    whole = [file for file in files if file.file_path not in vectors]
    assert len({file.file_path for file in whole}) == len(whole), "a file is listed twice"
    data, positions, equality = ([file for file in files if file.content == content] for content in DataFileContent)
    expected = {
        "total-data-files": len(data),
        "total-records": sum(file.record_count for file in data),
        "total-delete-files": len(positions) + len(equality),
        "total-position-deletes": sum(file.record_count for file in positions),
        "total-equality-deletes": sum(file.record_count for file in equality),
        "total-files-size": sum(file.file_size_in_bytes for file in whole) + sum(map(sum, vectors.values())),
    }
    assert {key: int(snapshot.summary[key]) for key in expected} == expected


def current_summary(table: Table) -> dict[str, str]:
    metadata = table.metadata()
    (current,) = (s for s in metadata["snapshots"] if s["snapshot-id"] == metadata["current-snapshot-id"])
    return current["summary"]


def partitions_hold_their_rows(table: Table) -> None:
    """Spark computes each row's partition values again and finds those of the file the row is in."""
    java = table.java()
    schema = java.schema()
    for spec in java.specs().values():
        conditions = []
        for field in spec.fields():
            column, transform = schema.findColumnName(field.sourceId()), field.transform().toString()
            if column is not None and transform != "void":
                expected = _transformed(table.catalog.name, transform, f"`{column}`")
                conditions.append(f"{expected} <=> _partition.`{field.name()}`")
        if conditions:
            wrong = f"_spec_id = {spec.specId()} and not ({' and '.join(conditions)})"
            assert table.sql(f"select count(*) from {{t}} where {wrong}").first()[0] == 0


def _transformed(catalog: str, transform: str, column: str) -> str:
    name, _, width = transform.rstrip("]").partition("[")
    match name:
        case "identity":
            return column
        case "bucket" | "truncate":
            return f"{catalog}.system.{name}({width}, {column})"
        case _:
            return f"{catalog}.system.{name}s({column})"


def pyiceberg_reads(table: Table, *skipped_columns: str) -> None:
    """PyIceberg and Spark return the same rows. It knows no equality deletes, so none may be left."""
    arrow = StaticTable.from_metadata(table.metadata_location()).scan().to_arrow().drop_columns(list(skipped_columns))
    frame = table.sql("select * from {t}").drop(*skipped_columns)
    by_pyiceberg = plain_rows(arrow.column_names, arrow.to_pylist(maps_as_pydicts="strict"))
    by_spark = plain_rows(frame.columns, frame.collect())
    assert by_pyiceberg == by_spark, f"only PyIceberg: {by_pyiceberg - by_spark}\nonly Spark: {by_spark - by_pyiceberg}"
