"""Default values of version 3: rows of files without the column have its initial default, which a rewrite writes."""

import pytest

import check
import java_tables
import snowpack
from java_tables import field, listed
from java_writer import JavaWriter
from lake import Catalog, Table

V3 = {"format-version": "3"}


def with_default(id: int, name: str, kind: object, initial: object, write: object = None, required: bool = False) -> dict:
    defaults = {"initial-default": initial} | ({} if write is None else {"write-default": write})
    return field(id, name, kind, required) | defaults


DEFAULTS = [
    with_default(20, "flag", "boolean", True), with_default(21, "n", "int", -5, 7), with_default(22, "l", "long", 2**40),
    with_default(23, "f", "float", 1.5), with_default(24, "d", "double", -0.25), with_default(25, "p", "decimal(9, 2)", "14.20"),
    with_default(26, "day", "date", "1969-12-31"), with_default(28, "at", "timestamp", "2007-12-03T10:15:30.000001"),
    with_default(29, "z", "timestamptz", "2007-12-03T10:15:30.000001+00:00"), with_default(30, "s", "string", "snow \U0001f9ca", "new"),
    with_default(31, "raw", "binary", "00FF"), with_default(32, "needed", "string", "always", required=True),
]
# Of types that Spark does not have.
RARE = [
    with_default(40, "u", "uuid", "f79c3e09-677c-4bbd-a479-3f349cb785e7"), with_default(41, "fixed", "fixed[2]", "0102"),
    with_default(42, "t", "time", "10:15:30.000001"),
]


def evolved(catalog: Catalog, name: str, added: list[dict]) -> Table:
    """Six files, then columns with defaults, also inside a struct and a list of structs, then six files with them."""
    inner = {"type": "struct", "fields": [field(3, "a", "int")]}
    base = [field(1, "id", "int"), field(2, "inner", inner), field(4, "list", listed(5, {"type": "struct", "fields": [field(6, "a", "int")]}))]
    table = java_tables.create(catalog, name, {"fields": base}, 3)
    for id in range(6):
        inner_value = "null" if id % 3 == 0 else "named_struct('a', 1)"
        table.sql(f"insert into {{t}} values ({id}, {inner_value}, array(named_struct('a', 2), null))")
    base[1]["type"] = {"type": "struct", "fields": [field(3, "a", "int"), with_default(7, "b", "string", "in a struct")]}
    base[2]["type"] = listed(5, {"type": "struct", "fields": [field(6, "a", "int"), with_default(8, "b", "int", 99)]})
    java_tables.set_schema(table, {"fields": base + added})
    return table


def test_defaults_are_written_as_spark_reads_them(lake: Catalog):
    table = evolved(lake, "defaults.spark", DEFAULTS)
    rows = table.sql("select * from {t} order by id").collect()
    assert rows[1].n == -5 and rows[1].s == "snow \U0001f9ca" and rows[1].inner.b == "in a struct" and rows[0].inner is None
    before = check.take(table)
    snowpack.compact(table).completed()
    check.same_rows(table, before)
    check.sound(table)
    assert table.sql("select * from {t} order by id").collect() == rows
    assert DEFAULTS[1] in table.metadata()["schemas"][-1]["fields"]
    # They are in the file now: Java's reader, told of a schema without defaults, still finds them.
    bare = [{key: value for key, value in column.items() if "default" not in key} for column in DEFAULTS]
    for column in bare:
        column["required"] = False
    java_tables.set_schema(table, {"fields": [field(1, "id", "int"), *bare]})
    assert table.sql("select * from {t} where n = -5 and l = 1099511627776 and needed = 'always'").count() == 6


def test_defaults_do_not_replace_nulls(lake: Catalog):
    """Files that have the column keep their nulls."""
    table = evolved(lake, "defaults.nulls", DEFAULTS)
    java = JavaWriter(table)
    for id in range(10, 16):
        java.commit([java.data([{"id": id, "n": None, "s": None, "needed": "given"}])])
    before = java_tables.rows(table)
    snowpack.compact(table).completed()
    assert java_tables.rows(table) == before
    assert table.sql("select * from {t} where id >= 10 and n is null and s is null").count() == 6


def test_defaults_of_types_spark_does_not_have(lake: Catalog):
    table = evolved(lake, "defaults.rare", RARE)
    before = java_tables.rows(table)
    assert all("f79c3e09-677c-4bbd-a479-3f349cb785e7" in row for row in before), before[0]
    snowpack.compact(table).completed()
    assert java_tables.rows(table) == before


@pytest.mark.parametrize("kind", ["timestamp_ns", "timestamptz_ns"])
def test_defaults_that_cannot_be_read_are_refused(lake: Catalog, kind: str):
    """Java 1.10 itself hands out a bare number for these."""
    zone = "+00:00" if kind == "timestamptz_ns" else ""
    table = evolved(lake, f"defaults.{kind}", [with_default(43, "nano", kind, "2007-12-03T10:15:30.000000001" + zone)])
    touched = check.footprint(table)
    said = snowpack.compact(table).failed().said
    assert "nano" in said and "default" in said and table.name in said, said
    assert check.footprint(table) == touched


@pytest.mark.parametrize("partitioned", ["", "bucket(2, id)"], ids=["whole", "partitioned"])
def test_equality_deletes_meet_defaults(lake: Catalog, partitioned: str):
    """A key of a column that the data file lacks is compared with the column's initial default."""
    name = "bucketed" if partitioned else "whole"
    table = evolved(lake, f"defaults.equality_{name}", DEFAULTS)
    if partitioned:
        table.sql(f"alter table {{t}} add partition field {partitioned}")
        table.sql(f"alter table {{t}} drop partition field {partitioned}")
    java = JavaWriter(table)
    java.commit([java.data([{"id": 20, "n": -6, "needed": "x"}, {"id": 21, "n": -5, "needed": "x"}])])
    java.commit(deletes=[java.equality_delete(["n", "id"], [(-5, 1), (-5, 21), (None, 2)])])
    before = java_tables.rows(table)
    assert len(before) == 6
    snowpack.compact(table).completed()
    assert java_tables.rows(table) == before
