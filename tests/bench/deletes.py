"""Measures rewrite_data_files where deletes are the problem: as many position-delete and as many equality-delete files
as data files, by default 20,000 of each.

    tests/bench/run deletes [--files 20000] [--partitions 1] [--scope partition|global] [--keys 10] [--output FILE]

With one partition every delete file of either kind applies to nearly every data file. The table is made here, without
Spark, which would take hours for it: tiny files by PyArrow, manifests by PyIceberg. What must be left of it is known by
construction, and is compared with the files the rewrite leaves, row by row.

Prints one JSON document with wall time, CPU time and peak memory of the process.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "interop"))

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.conversions import to_bytes
from pyiceberg.manifest import (
    DataFile, DataFileContent, FileFormat, ManifestContent, ManifestEntry, ManifestEntryStatus, ManifestFile,
    ManifestWriterV2, write_manifest_list,
)
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import StaticTable
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.update import AddSnapshotUpdate, SetSnapshotRefUpdate
from pyiceberg.transforms import IdentityTransform
from pyiceberg.typedef import Record
from pyiceberg.types import IntegerType, LongType, NestedField, StringType

CATALOG = "bench"
TABLE = "bench.deletes"
SNAPSHOT = 1
ROWS = 10
# Keys of an equality-delete file that a row has, or had.
HITS = 10
# Data files are spread over as many sequence numbers, and equality deletes follow each of them.
TURNS = 10
FILES_PER_MANIFEST = 5_000
PATH_ID, POS_ID = 2_147_483_546, 2_147_483_545

SCHEMA = Schema(
    NestedField(1, "id", LongType(), required=True),
    NestedField(2, "part", IntegerType(), required=True),
    NestedField(3, "text", StringType(), required=False),
)


@dataclass(frozen=True)
class Shape:
    """What the table looks like."""

    files: int
    partitions: int
    is_global: bool
    keys: int

    def partition_of(self, index: int) -> int:
        return index % self.partitions

    def sequence_of_data(self, index: int) -> int:
        return 1 + index * TURNS // self.files

    def sequence_of_equality(self, index: int) -> int:
        return 2 + index % TURNS

    def equality_keys(self, index: int) -> list[int]:
        """Ids of files all over the partition, or the table, and then ids that no row has."""
        missing = self.files * ROWS + index * self.keys
        return self.hits(index) + list(range(missing, missing + self.keys - HITS))

    def hits(self, index: int) -> list[int]:
        generator = random.Random(index)
        if self.is_global:
            return sorted(generator.randrange(self.files * ROWS) for _ in range(HITS))
        part = self.partition_of(index)
        of_partition = range(part, self.files, self.partitions)
        return sorted(generator.choice(of_partition) * ROWS + generator.randrange(ROWS) for _ in range(HITS))

    def expected(self) -> set[int]:
        """The ids that are left."""
        deleted_at: dict[int, int] = {}
        for index in range(self.files):
            for key in self.hits(index):
                deleted_at[key] = max(deleted_at.get(key, 0), self.sequence_of_equality(index))
        return {
            id
            for index in range(self.files)
            for id in range(index * ROWS, (index + 1) * ROWS)
            if id - index * ROWS != index % ROWS and deleted_at.get(id, 0) <= self.sequence_of_data(index)
        }


def arrow_field(name: str, kind: pa.DataType, id: int) -> pa.Field:
    return pa.field(name, kind, nullable=False, metadata={"PARQUET:field_id": str(id)})


DATA = pa.schema([arrow_field("id", pa.int64(), 1), arrow_field("part", pa.int32(), 2), arrow_field("text", pa.string(), 3)])
POSITION = pa.schema([arrow_field("file_path", pa.string(), PATH_ID), arrow_field("pos", pa.int64(), POS_ID)])
EQUALITY = pa.schema([arrow_field("id", pa.int64(), 1)])


class Maker:
    """Writes the table's files."""

    def __init__(self, shape: Shape, location: Path) -> None:
        self.shape = shape
        self.data = location / "data"
        self.metadata = location / "metadata"
        for folder in (self.data, self.metadata):
            folder.mkdir(parents=True, exist_ok=True)

    def data_files(self) -> Iterator[ManifestEntry]:
        for index in range(self.shape.files):
            ids = range(index * ROWS, (index + 1) * ROWS)
            part = self.shape.partition_of(index)
            columns = [ids, [part] * ROWS, [f"row {id}" for id in ids]]
            file = self._file(self._data_path(index), DATA, columns, part)
            bounds = {1: (LongType(), ids[0], ids[-1])}
            yield entry(self.shape.sequence_of_data(index), file, DataFileContent.DATA, bounds)

    def position_deletes(self) -> Iterator[ManifestEntry]:
        """Every other one says in its bounds which file it is about; the rest apply to the partition."""
        for index in range(self.shape.files):
            path = str(self._data_path(index))
            part = self.shape.partition_of(index)
            file = self._file(self.data / f"position-{index}.parquet", POSITION, [[path], [index % ROWS]], part)
            bounds = {PATH_ID: (StringType(), path, path)} if index % 2 else {}
            yield entry(TURNS + 2, file, DataFileContent.POSITION_DELETES, bounds)

    def equality_deletes(self) -> Iterator[ManifestEntry]:
        for index in range(self.shape.files):
            keys = self.shape.equality_keys(index)
            part = None if self.shape.is_global else self.shape.partition_of(index)
            file = self._file(self.data / f"equality-{index}.parquet", EQUALITY, [keys], part)
            bounds = {1: (LongType(), keys[0], keys[-1])}
            sequence = self.shape.sequence_of_equality(index)
            yield entry(sequence, {**file, "equality_ids": [1]}, DataFileContent.EQUALITY_DELETES, bounds)

    def _data_path(self, index: int) -> Path:
        return self.data / f"data-{index}.parquet"

    @staticmethod
    def _file(path: Path, schema: pa.Schema, columns: list, part: int | None) -> dict:
        table = pa.table([pa.array(column, field.type) for column, field in zip(columns, schema)], schema=schema)
        pq.write_table(table, path, compression="zstd")
        return {
            "file_path": str(path), "record_count": table.num_rows, "file_size_in_bytes": path.stat().st_size,
            "partition": Record() if part is None else Record(part),
        }


def entry(sequence: int, file: dict, content: DataFileContent, bounds: dict) -> ManifestEntry:
    rows = file["record_count"]
    described = DataFile.from_args(
        content=content, file_format=FileFormat.PARQUET,
        value_counts={id: rows for id in bounds}, null_value_counts={id: 0 for id in bounds},
        lower_bounds={id: to_bytes(kind, low) for id, (kind, low, _) in bounds.items()},
        upper_bounds={id: to_bytes(kind, high) for id, (kind, _, high) in bounds.items()},
        **file,
    )
    return ManifestEntry.from_args(
        status=ManifestEntryStatus.EXISTING, snapshot_id=SNAPSHOT, sequence_number=sequence,
        file_sequence_number=sequence, data_file=described,
    )


class DeletesWriter(ManifestWriterV2):
    """PyIceberg writes manifests of data files only."""

    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}


def manifests(
    kind: type[ManifestWriterV2], spec: PartitionSpec, name: Path, entries: Iterable[ManifestEntry], io
) -> Iterator[ManifestFile]:
    entries = list(entries)
    for start in range(0, len(entries), FILES_PER_MANIFEST):
        output = io.new_output(f"{name}-{start}.avro")
        with kind(spec, SCHEMA, output, SNAPSHOT, "deflate") as writer:
            for each in entries[start : start + FILES_PER_MANIFEST]:
                writer.add_entry(each)
        yield writer.to_manifest_file()


def make(shape: Shape, home: Path) -> None:
    """Writes the table and commits it in one snapshot with a history of sequence numbers."""
    catalog = SqlCatalog(CATALOG, uri=f"sqlite:///{home}/catalog.db", warehouse=f"file://{home}/warehouse")
    catalog.create_namespace("bench")
    table = catalog.create_table(TABLE, SCHEMA, properties={"format-version": "2"})
    if not (shape.partitions == 1 and shape.is_global):
        with table.update_spec() as update:
            update.add_field("part", IdentityTransform())
    spec = table.spec()
    delete_spec = UNPARTITIONED_PARTITION_SPEC if shape.is_global else spec
    maker = Maker(shape, Path(table.location().removeprefix("file://")))
    made = [
        *manifests(ManifestWriterV2, spec, maker.metadata / "data", maker.data_files(), table.io),
        *manifests(DeletesWriter, spec, maker.metadata / "position", maker.position_deletes(), table.io),
        *manifests(DeletesWriter, delete_spec, maker.metadata / "equality", maker.equality_deletes(), table.io),
    ]
    listed = str(maker.metadata / "snap-1.avro")
    with write_manifest_list(2, table.io.new_output(listed), SNAPSHOT, None, TURNS + 2, "deflate") as writer:
        writer.add_manifests(made)
    snapshot = Snapshot(
        snapshot_id=SNAPSHOT, sequence_number=TURNS + 2, manifest_list=listed, summary=Summary(Operation.APPEND),
        schema_id=table.metadata.current_schema_id,
    )
    main = SetSnapshotRefUpdate(ref_name="main", type="branch", snapshot_id=SNAPSHOT)
    with table.transaction() as transaction:
        transaction._apply((AddSnapshotUpdate(snapshot=snapshot), main))


def run(home: Path) -> dict:
    """Runs the action; times are of the whole process."""
    command = [
        os.environ["SNOWPACK_BIN"], "run", TABLE, "rewrite_data_files", "--json", "--catalog", "sql",
        "--catalog-uri", f"sqlite:///{home}/catalog.db", "--catalog-name", CATALOG, "--warehouse", f"file://{home}/warehouse",
    ]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    wall = time.monotonic() - started
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = json.loads(done.stdout)["results"]
    return {
        "message": result["message"], "metrics": result["metrics"], "wall_seconds": round(wall, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1), "peak_mib": usage.ru_maxrss // 1024,
    }


def left(home: Path) -> set[int]:
    """The ids the table holds now; no delete file may be left that applies."""
    table = SqlCatalog(CATALOG, uri=f"sqlite:///{home}/catalog.db").load_table(TABLE)
    static = StaticTable.from_metadata(table.metadata_location)
    ids: set[int] = set()
    for manifest in static.current_snapshot().manifests(static.io):
        for each in manifest.fetch_manifest_entry(static.io):
            if each.data_file.content == DataFileContent.DATA:
                found = pq.read_table(each.data_file.file_path.removeprefix("file://"), columns=["id"])["id"].to_pylist()
                assert ids.isdisjoint(found), "a row is there twice"
                ids.update(found)
    return ids


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--partitions", type=int, default=1)
    parser.add_argument("--scope", choices=["partition", "global"], default="partition")
    parser.add_argument("--keys", type=int, default=10, help="keys in each equality-delete file, at least 10; with 1,000 they do not fit memory")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    shape = Shape(arguments.files, arguments.partitions, arguments.scope == "global", arguments.keys)
    with tempfile.TemporaryDirectory(prefix="snowpack-bench-") as folder:
        home = Path(folder)
        make(shape, home)
        result = {"files": shape.files, "partitions": shape.partitions, "scope": arguments.scope, "keys": shape.keys}
        result |= run(home)
        assert left(home) == shape.expected(), "the rows left are not the ones expected"
    document = json.dumps(result, indent=2)
    print(document)
    if arguments.output:
        arguments.output.write_text(document + "\n")


if __name__ == "__main__":
    main()
