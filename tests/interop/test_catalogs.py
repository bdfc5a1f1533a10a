"""Each kind of catalog snowpack opens: as Java made it, as PyIceberg made it, and over REST with commits that fail."""

import datetime
import decimal
import uuid
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import StaticTable
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import (
    BinaryType, DecimalType, FixedType, ListType, LongType, NestedField, StringType, TimestamptzType, TimeType, UUIDType,
)

import check
import snowpack
import spark as spark_setup
import tables
from lake import Catalog, Table
from plain import plain_rows
from rest import RestServer


def compacts(table: Table) -> snowpack.Outcome:
    before = check.take(table)
    outcome = snowpack.compact(table).completed()
    assert outcome.message.startswith("Compacted "), outcome.message
    check.same_rows(table, before)
    check.same_refs(table, before)
    check.sound(table)
    return outcome


def test_jdbc_catalog_of_the_first_schema(v0_catalog: Catalog):
    compacts(tables.unpartitioned(v0_catalog, "first.small"))


def test_nested_namespace(lake: Catalog):
    lake.session.sql("create namespace if not exists lake.outer")
    compacts(tables.unpartitioned(lake, "outer.inner.small"))


def test_location_without_a_scheme(lake: Catalog, scratch: Path):
    """Spark writes such a table with the bare path in some places and file: in others."""
    lake.session.sql("create namespace if not exists lake.bare")
    table = Table(lake, "bare.small")
    table.sql(f"create table {{t}} (id bigint) using iceberg location '{scratch}/bare folder/small'")
    for _ in range(3):
        table.insert("select id from range(50)", 2)
    compacts(table)


def test_other_catalogs_in_the_same_file_are_left_alone(session, lake: Catalog, scratch: Path):
    """A SQLite file may hold several catalogs, told apart by name."""
    spark_setup.open_sqlite(session, "other", lake.database, f"file://{scratch}/other")
    other = Catalog(session, "other", scratch / "other", lake.flags, lake.database)
    hidden = tables.unpartitioned(other, "same.small")
    before = check.footprint(hidden)
    assert "same.small" in snowpack.compact(hidden).failed().said
    compacts(tables.unpartitioned(lake, "same.small"))
    assert check.footprint(hidden) == before


# --- PostgreSQL

def test_jdbc_catalog_in_postgresql(postgres_catalog: Catalog):
    table = tables.position_deletes_by_partition(postgres_catalog, "outer.inner.small")
    compacts(table)
    snowpack.run(table, "expire_snapshots", options={"retain_last": 1}).completed()
    table.insert("select * from {t} limit 1".replace("{t}", table.identifier))
    check.sound(table)


# --- PyIceberg

_PYTHON_SCHEMA = Schema(
    NestedField(1, "id", LongType(), required=True),
    NestedField(2, "name", StringType()),
    NestedField(3, "price", DecimalType(20, 3)),
    NestedField(4, "at", TimestamptzType()),
    NestedField(5, "unique", UUIDType()),
    NestedField(6, "raw", FixedType(4)),
    NestedField(7, "blob", BinaryType()),
    NestedField(8, "list", ListType(10, LongType(), element_required=False)),
    NestedField(9, "clock", TimeType()),
    identifier_field_ids=[1],
)
_PYTHON_SPEC = PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "name"))


def _python_rows(start: int) -> pa.Table:
    instant = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    rows = [
        {
            "id": id, "name": None if id % 3 else "ä b", "price": decimal.Decimal(id) / 8,
            "at": instant + datetime.timedelta(microseconds=id), "unique": uuid.UUID(int=id).bytes,
            "raw": id.to_bytes(4), "blob": b"\0" * (id % 5), "list": [id, None] if id % 2 else None,
            "clock": datetime.time(23, 59, 59, id),
        }
        for id in range(start, start + 50)
    ]
    return pa.Table.from_pylist(rows, schema=_PYTHON_SCHEMA.as_arrow())


@pytest.fixture(scope="module")
def python_catalog(session, scratch: Path) -> Catalog:
    home = scratch / "python"
    home.mkdir()
    database, warehouse = home / "catalog.db", home / "warehouse"
    catalog = SqlCatalog("python", uri=f"sqlite:///{database}", warehouse=f"file://{warehouse}")
    catalog.create_namespace("py")
    table = catalog.create_table("py.every", _PYTHON_SCHEMA, partition_spec=_PYTHON_SPEC)
    for start in range(0, 300, 50):
        table.append(_python_rows(start))
    table.delete("id < 20")
    spark_setup.open_sqlite(session, "python", database, f"file://{warehouse}", schema="V1")
    flags = ["--catalog", "sql", "--catalog-uri", f"sqlite:///{database}", "--catalog-name", "python"]
    return Catalog(session, "python", warehouse, [*flags, "--warehouse", f"file://{warehouse}"], database)


def test_catalog_and_table_made_by_pyiceberg(python_catalog: Catalog):
    """Spark knows no type time, so here PyIceberg is the judge."""
    table = Table(python_catalog, "py.every")

    def by_pyiceberg():
        rows = StaticTable.from_metadata(table.metadata_location()).scan().to_arrow()
        return plain_rows(rows.column_names, rows.to_pylist())

    before = by_pyiceberg()
    outcome = snowpack.compact(table, min_input_files=2).completed()
    assert outcome.message.startswith("Compacted "), outcome.message
    assert by_pyiceberg() == before
    check.sound(table)


# --- REST

def replaces(table: Table) -> int:
    return sum(row.operation == "replace" for row in table.metadata_table("snapshots", "operation"))


def test_rest_catalog(rest_catalog: Catalog):
    table = tables.position_deletes_by_partition(rest_catalog, "rest.plain")
    compacts(table)
    snowpack.run(table, "expire_snapshots", options={"retain_last": 1}).completed()


def test_rest_catalog_behind_oauth2_and_a_prefix(rest_catalog: Catalog, rest_server: RestServer):
    """Tokens that wear out are bought anew in the middle of the work, the commit's own among them."""
    table = tables.unpartitioned(rest_catalog, "rest.guarded.small")
    guarded = Catalog(rest_catalog.session, "rest", rest_catalog.warehouse,
                      [*rest_catalog.flags, "--warehouse", "guarded", "--catalog-credential", "id:hush"])
    before = rest_server.tokens()
    compacts(Table(guarded, table.name))
    assert rest_server.tokens() - before > 1
    wrong = Catalog(rest_catalog.session, "rest", rest_catalog.warehouse,
                    [*rest_catalog.flags, "--warehouse", "guarded", "--catalog-credential", "id:wrong-secret"])
    said = snowpack.compact(Table(wrong, table.name)).failed().said
    assert "denied" in said and "wrong-secret" not in said


@pytest.mark.parametrize("status, applied", [(409, False), (500, True), (502, True), (503, True), (504, True)])
def test_rest_commit_that_goes_wrong_once(rest_catalog: Catalog, rest_server: RestServer, status: int, applied: bool):
    """A conflict is tried again; of a lost answer snowpack finds out whether the commit was applied. Either way the
    work is done once."""
    table = tables.unpartitioned(rest_catalog, f"rest.once_{status}")
    rest_server.fail_commits(status, applied)
    compacts(table)
    assert replaces(table) == 1


def test_rest_commit_of_unknown_fate(rest_catalog: Catalog, rest_server: RestServer):
    """The answer is lost and the commit nowhere to be seen, yet it may still come: no file it names may be deleted."""
    table = tables.unpartitioned(rest_catalog, "rest.unknown")
    before, (location, files) = check.take(table), check.footprint(table)
    rest_server.fail_commits(503)
    snowpack.compact(table).failed()
    assert table.metadata_location() == location
    written = table.files().keys() - files.keys()
    assert any(name.startswith("data/") for name in written) and any(name.endswith(".avro") for name in written)
    check.same_rows(table, before)
    compacts(table)


def test_rest_conflicts_again_and_again(rest_catalog: Catalog, rest_server: RestServer):
    """Retries end as `commit.retry.num-retries` says. Conflicts that the table does not explain prove nothing: the
    commit may still come, so that no file it names may be deleted."""
    table = tables.unpartitioned(rest_catalog, "rest.conflicts", **{
        "commit.retry.num-retries": "2", "commit.retry.min-wait-ms": "1", "commit.retry.max-wait-ms": "5"})
    before, (location, files), sent = check.take(table), check.footprint(table), rest_server.commits()
    rest_server.fail_commits(409, times=100)
    snowpack.compact(table, **{"partial_progress.enabled": "false"}).failed()
    rest_server.fail_commits(409, times=0)
    assert rest_server.commits() - sent == 3
    assert table.metadata_location() == location
    assert table.files().keys() > files.keys()
    check.same_rows(table, before)
    compacts(table)


def test_rest_catalog_that_is_not_there(rest_catalog: Catalog):
    table = Table(Catalog(rest_catalog.session, "rest", rest_catalog.warehouse,
                          ["--catalog", "rest", "--catalog-uri", "http://127.0.0.1:9"]), "rest.nowhere")
    assert "catalog" in snowpack.compact(table).failed().said
