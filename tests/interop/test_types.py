"""Every type of the specification: rows survive a rewrite, and manifests say of them what Spark's would."""

import copy
import sqlite3

import pytest

import check
import java_tables
import snowpack
import tables
from java_tables import field, listed, mapped
from java_writer import JavaWriter
from lake import Catalog, Table


# Reserved field ids start below: those of row lineage.
LINEAGE = 2_147_483_000


def spark_metrics(table: Table) -> list[dict]:
    """What Spark's own rewrite would leave in the manifests of this table, which is put back afterwards."""
    with table.rewound():
        table.sql("call {system}.rewrite_data_files(table => '{name}', options => map('rewrite-all', 'true'))")
        return java_tables.live_metrics(table)


def differences(found: list[dict], expected: list[dict]) -> dict:
    """What is said of columns in one but not alike in the other: short enough to be shown."""
    ours, theirs = ({(index, kind, key): value for index, file in enumerate(files) for kind, said in file.items()
                     for key, value in (said.items() if isinstance(said, dict) else [("", str(said))])}
                    for files in (found, expected))
    return {place: (ours.get(place), theirs.get(place)) for place in ours.keys() | theirs.keys() if ours.get(place) != theirs.get(place)}


def strings_at_the_edge(catalog: Catalog, name: str) -> Table:
    """Strings and binaries around the 16 characters or bytes that bounds are cut to, with characters of one to four
    bytes there, and some after which no greater one exists."""
    table = catalog.create(name, "low string, high string, wide string, last string, raw binary, full binary, none string")
    edges = [15, 16, 17]
    for index, edge in enumerate(edges):
        cut = "a" * (edge - 1)
        surrogate, sharp, last = cut + "\U0001f9ca" * 3, cut + "ß" * 3, "\U0010ffff" * edge
        table.sql(
            f"insert into {{t}} values ('{cut}', '{'z' * edge}\uffff', '{surrogate}', '{last}', X'{'0A' * edge}', "
            f"X'{'FF' * edge}', {'null' if index else repr('')}), ('{cut}é', '{sharp}', '{cut}\ud7ff\ue000', '', X'', X'FF', null)"
        )
    return table


def decimals(catalog: Catalog, name: str) -> Table:
    """The least and the greatest decimal of every precision."""
    columns = ", ".join(f"p{precision} decimal({precision}, {precision // 2})" for precision in range(1, 39))
    table = catalog.create(name, columns)

    def values(sign: str, digit: str) -> str:
        def value(precision: int) -> str:
            whole, scale = precision - precision // 2, precision // 2
            return f"cast('{sign}{digit * whole}{'.' + digit * scale if scale else ''}' as decimal({precision}, {scale}))"
        return ", ".join(value(precision) for precision in range(1, 39))

    for sign, digit in (("-", "9"), ("", "9"), ("", "0"), ("-", "1")):
        table.sql(f"insert into {{t}} select {values(sign, digit)}")
    return table


def moments(catalog: Catalog, name: str) -> Table:
    """Dates and times before 1970, at the edges, and all null."""
    table = catalog.create(name, "day date, at timestamp, local timestamp_ntz, nothing date")
    for day in ("0001-01-05", "1582-10-15", "1969-12-31", "1970-01-01", "9999-12-31"):
        table.sql(
            f"insert into {{t}} values (date '{day}', timestamp '{day} 23:59:59.999999', timestamp_ntz '{day} 00:00:00.000001', null)"
        )
    return table


def floats(catalog: Catalog, name: str) -> Table:
    """Columns of NaN only, of zeros of both signs, and of infinities, also inside structs and lists."""
    kinds = {"nan": ["NaN"], "zero": ["0.0", "-0.0"], "endless": ["Infinity", "-Infinity"], "mixed": ["NaN", "-1.5", "2.5"]}
    columns = ", ".join(f"{name}_f float, {name}_d double" for name in kinds)
    table = catalog.create(name, f"{columns}, inner struct<f: float, deep: struct<d: double>>, list array<double>")
    for turn in range(3):
        picked = [values[turn % len(values)] for values in kinds.values()]
        cells = ", ".join(f"float('{value}'), double('{value}')" for value in picked)
        table.sql(
            f"insert into {{t}} select {cells}, named_struct('f', float('NaN'), 'deep', named_struct('d', double('{picked[3]}'))), "
            f"array(double('{picked[1]}'), null)"
        )
    return table


def with_lineage(catalog: Catalog, name: str) -> Table:
    """Version 3, in which a rewrite writes the row ids down."""
    table = catalog.create(name, "id bigint, v string", **{"format-version": "3"})
    for turn in range(3):
        table.sql(f"insert into {{t}} values ({turn}, 'v'), (null, null)")
    return table


@pytest.mark.parametrize("build", [with_lineage, tables.every_type, strings_at_the_edge, decimals, moments, floats], ids=lambda build: build.__name__)
def test_manifests_say_what_spark_would_write(lake: Catalog, build):
    table = build(lake, f"types.{build.__name__}")
    before, expected = check.take(table), spark_metrics(table)
    snowpack.compact(table, rewrite_all="true").completed()
    check.same_rows(table, before)
    check.sound(table)
    assert not differences(java_tables.live_metrics(table), expected)


def rare_rows(values: java_tables.Values) -> list[dict]:
    rows = [{name: None for name in ("u", "fixed", "t", "d", "ids", "times")}]
    for number, time in ((0, "00:00:00"), (2**128 - 1, "23:59:59.999999"), (2**127, "12:00:00.000001")):
        rows.append({
            "u": values.uuid(number), "fixed": bytearray((number & 0xFF,) * 3), "t": values.time(time), "d": values.decimal("-1.50"),
            "ids": [values.uuid(number), None], "times": {"k": [values.time(time)]},
        })
    return rows


RARE = {"fields": [
    field(10, "u", "uuid"), field(11, "fixed", "fixed[3]"), field(12, "t", "time"), field(13, "d", "decimal(5, 2)"),
    field(14, "ids", listed(15, "uuid")), field(16, "times", mapped(17, "string", 18, listed(19, "time"))),
]}


def nano_rows(values: java_tables.Values) -> list[dict]:
    moments = ("1677-09-21T00:12:44", "1969-12-31T23:59:59.999999999", "1970-01-01T00:00:00.000000001", "2262-04-11T23:47:16.854775807")
    rows = [{"n": None, "z": None, "list": None}]
    for moment in moments:
        at, instant = values.timestamp(moment), values.instant(moment + "Z")
        rows.append({"n": at, "z": instant, "list": [at, None]})
    return rows


NANO = {"fields": [field(10, "n", "timestamp_ns"), field(11, "z", "timestamptz_ns"), field(12, "list", listed(13, "timestamp_ns"))]}


@pytest.mark.parametrize("kind", ["rare", "nano"])
def test_types_spark_sql_does_not_have(lake: Catalog, kind: str):
    schema, make, version = {"rare": (RARE, rare_rows, 2), "nano": (NANO, nano_rows, 3)}[kind]
    table = java_tables.create(lake, f"types.{kind}", schema, version)
    rows = make(java_tables.Values(table))
    java = JavaWriter(table)
    for row in rows * 2:
        java.commit([java.data([row])])
    before, expected = java_tables.rows(table), java_tables.written_by_java(table, rows * 2)
    assert len(before) == 2 * len(rows)
    snowpack.compact(table, rewrite_all="true").completed()
    assert java_tables.rows(table) == before
    (found,) = java_tables.live_metrics(table)
    # Java's generic writer is told no sort order, and writes no row ids; Spark's does both as we do.
    assert not differences([own_columns(found)], [own_columns(expected)])


def own_columns(said: dict) -> dict:
    """Without the columns of row lineage, and the sort order."""
    kept = {kind: {id: value for id, value in values.items() if id < LINEAGE} for kind, values in said.items() if isinstance(values, dict)}
    return said | kept | {"sized": [id for id in said["sized"] if id < LINEAGE], "order": None}


def test_dates_promoted_to_timestamps_are_read_or_refused_by_name(lake: Catalog):
    """The promotion of version 3 that Spark 3.5 and Java 1.10 cannot read either: if it is not carried out right, it is
    refused, and nothing is touched."""
    table = java_tables.create(lake, "types.promoted", {"fields": [field(10, "day", "date")]}, 3)
    values, java = java_tables.Values(table), JavaWriter(table)
    for day in ("1969-12-31", "2024-02-29"):
        java.commit([java.data([{"day": values.date(day)}])])
    java_tables.set_schema(table, {"fields": [field(10, "day", "timestamp")]})
    touched = check.footprint(table)
    outcome = snowpack.compact(table, rewrite_all="true")
    if outcome.code:
        assert "day" in outcome.failed().said and "Date" in outcome.said, outcome.said
        assert check.footprint(table) == touched
    else:
        assert java_tables.rows(table) == ["1969-12-31T00:00", "2024-02-29T00:00"]


@pytest.mark.parametrize("kind", ["unknown", "variant", "geometry", "geometry(srid:4326)", "geography", "geography(srid:4326, karney)"])
@pytest.mark.parametrize("depth", ["column", "nested"])
def test_types_not_supported_are_named(lake: Catalog, kind: str, depth: str):
    label = "".join(letter for letter in f"{kind}_{depth}" if letter.isalnum() or letter == "_")
    table = lake.create(f"types.refused_{label}", "id int", **{"format-version": "3"})
    for _ in range(5):
        table.sql("insert into {t} values (1)")
    odd = field(100, "odd", kind)
    if depth == "nested":
        odd = field(102, "outer", listed(101, {"type": "struct", "fields": [odd]}))

    def change(metadata: dict) -> None:
        schema = copy.deepcopy(metadata["schemas"][-1])
        schema["schema-id"] += 1
        schema["fields"].append(odd)
        metadata["schemas"].append(schema)
        metadata["current-schema-id"] = schema["schema-id"]
        metadata["last-column-id"] = 102

    location = table.metadata_location()
    folder = table.files()
    table.edit_metadata(change)
    said = snowpack.compact(table).failed().said
    assert table.name in said and "odd" in said and kind.split("(")[0] in said and "not supported" in said, said
    table._point_at(location)
    left = table.files()
    assert {name for name in left if name.endswith((".parquet", ".avro"))} == {
        name for name in folder if name.endswith((".parquet", ".avro"))}


def test_a_view_is_refused(lake: Catalog):
    """A view in a SQL catalog, as Java's JDBC catalog lays it out."""
    lake.create("types.base", "id int")
    view = Table(lake, "types.a_view")
    with sqlite3.connect(lake.database) as database:
        database.execute(
            "insert into iceberg_tables (catalog_name, table_namespace, table_name, metadata_location, iceberg_type) "
            "values (?, 'types', 'a_view', 'file:///nowhere.metadata.json', 'VIEW')", (lake.name,))
    said = snowpack.compact(view).failed().said
    assert "types.a_view is a view" in said, said
