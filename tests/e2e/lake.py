"""Iceberg tables in the emulated Glue catalog and S3, written and read by PyIceberg."""

import pyarrow
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import LongType, NestedField, StringType

from emulator import REGION

BUCKET = "lake"
DATABASE = "shop"
# The one that the events of infra/events name; it does not exist.
SAMPLE_DATABASE = "offer_service"
# Exists, but the functions' roles do not cover it.
FOREIGN_DATABASE = "private"

SCHEMA = Schema(
    NestedField(1, "id", LongType(), required=False),
    NestedField(2, "region", StringType(), required=False),
    NestedField(3, "note", StringType(), required=False),
)
BY_REGION = PartitionSpec(PartitionField(source_id=2, field_id=1000, transform=IdentityTransform(), name="region"))
REGIONS = ("north", "south")


class Lake:
    """The catalog the deployment maintains."""

    def __init__(self, emulator):
        self._s3 = emulator.client("s3")
        self._s3.create_bucket(Bucket=BUCKET)
        properties = {
            "glue.endpoint": emulator.endpoint,
            "glue.region": REGION,
            "glue.access-key-id": "test",
            "glue.secret-access-key": "test",
            "s3.endpoint": emulator.endpoint,
            "s3.region": REGION,
            "s3.access-key-id": "test",
            "s3.secret-access-key": "test",
            "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO",
        }
        self.catalog = GlueCatalog("lake", **properties)
        for database in (DATABASE, FOREIGN_DATABASE):
            self.catalog.create_namespace(database, {"location": f"s3://{BUCKET}/{database}"})

    def create(self, name, appends=6, properties=None, database=DATABASE):
        """A table of two partitions with one small file of each per append; returns `database.table`."""
        identifier = f"{database}.{name}"
        table = self.catalog.create_table(identifier, SCHEMA, partition_spec=BY_REGION, properties=properties or {})
        for number in range(appends):
            table.append(_rows(number))
        return identifier

    def rows(self, identifier):
        """Every row of the current snapshot, sorted."""
        scanned = self.catalog.load_table(identifier).scan().to_arrow().to_pylist()
        return sorted(scanned, key=lambda row: row["id"])

    def files(self, identifier):
        """The data files of the current snapshot."""
        table = self.catalog.load_table(identifier)
        return [task.file.file_path for task in table.scan().plan_files()]

    def objects(self, identifier):
        """The URLs of every object under the table's location."""
        prefix = self.catalog.load_table(identifier).location().removeprefix(f"s3://{BUCKET}/")
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
        return [f"s3://{BUCKET}/{entry['Key']}" for page in pages for entry in page.get("Contents", [])]

    def snapshots(self, identifier):
        """The ids of the snapshots the table keeps."""
        return [snapshot.snapshot_id for snapshot in self.catalog.load_table(identifier).snapshots()]


def _rows(number, size=20):
    ids = range(number * size, (number + 1) * size)
    columns = {
        "id": list(ids),
        "region": [REGIONS[value % len(REGIONS)] for value in ids],
        "note": [None if value % 7 == 0 else f"note {value}" for value in ids],
    }
    return pyarrow.table(columns, pyarrow.schema([("id", pyarrow.int64()), ("region", pyarrow.string()), ("note", pyarrow.string())]))
