"""Badly kept tables, each with one thing about it that compaction must respect.

A builder takes the catalog and the table's name and returns the table. COMPACTED lists those that Spark
can compact too.
"""

from collections.abc import Callable

from equality import EQUALITY
from java_writer import JavaWriter
from lake import Catalog, Table

Builder = Callable[[Catalog, str], Table]
MERGE_ON_READ = {f"write.{command}.mode": "merge-on-read" for command in ("delete", "update", "merge")}
# Enough files in one commit and partition to be worth compacting.
MANY = 6

_ROWS = "select id, concat('name ', id) as name, cast(id / 7 as double) as ratio from range({0}, {0} + 300)"


def unpartitioned(catalog: Catalog, name: str, **properties: str) -> Table:
    """Twenty-four files from four commits."""
    table = catalog.create(name, "id bigint, name string, ratio double", **properties)
    for start in range(0, 1200, 300):
        table.insert(_ROWS.format(start), MANY)
    return table


def by_time(catalog: Catalog, name: str) -> Table:
    """Months of one column and days of another, with nulls in both and days before 1970."""
    table = catalog.create(name, "id int, at timestamp, day date, local timestamp_ntz", "month(at), days(day)")
    table.insert(
        """select cast(id as int),
            if(id % 5 = 0, null, timestamp '1969-12-30 23:59:59.999999' + make_interval(0, cast(id % 3 as int))),
            if(id % 7 = 0, null, date_add(date '1969-12-31', cast(id % 2 as int))),
            timestamp_ntz '1582-10-15 00:00:00' from range(200)""", MANY)
    return table


def by_hour_and_year(catalog: Catalog, name: str) -> Table:
    table = catalog.create(name, "id bigint, at timestamp, local timestamp_ntz", "hours(at), years(local)")
    table.insert("""select id, timestamp_micros(-7200000000 + id * 60000000),
        cast(timestamp_micros(id * 31536000000000 - 63072000000000) as timestamp_ntz) from range(0, 240, 60)""")
    table.insert("select id, timestamp_micros(id), timestamp_ntz '1970-01-01 00:00:00' from range(60)", MANY)
    return table


def by_bucket(catalog: Catalog, name: str) -> Table:
    """Buckets of every kind of type that can be hashed."""
    columns = "id bigint, small int, price decimal(9, 2), day date, at timestamp, name string, raw binary"
    table = catalog.create(name, columns, "bucket(2, id), bucket(2, price), bucket(2, name), bucket(2, raw)")
    table.insert("""select if(id % 4 = 0, null, id % 3), 1, cast(id % 2 as decimal(9, 2)), date '2024-01-01',
        timestamp '2024-01-01', if(id % 4 = 1, null, 'näme'), cast('raw' as binary) from range(200)""", MANY)
    return table


def by_truncate(catalog: Catalog, name: str) -> Table:
    """Cut numbers below zero and strings whose characters take several bytes."""
    table = catalog.create(
        name, "id int, big bigint, price decimal(9, 2), name string",
        "truncate(10, id), truncate(100, big), truncate(50, price), truncate(2, name)")
    table.insert("""select cast(id % 15 as int) - 7, -1, cast(-0.5 as decimal(9, 2)),
        element_at(array('日本語', '日本人', 'añb', '', null), cast(id % 5 as int) + 1) from range(250)""", MANY)
    return table


def by_odd_strings(catalog: Catalog, name: str) -> Table:
    """A partition field whose name Avro escapes, and values that need escaping in a path, one way or another."""
    table = catalog.create(name, "id bigint, `the key` string", "`the key`")
    keys = "'', ' ', 'a b', 'a/b', '../up', '50%', '%2F', 'x=y&z', 'a+b', 'café', '日本', '#?', '__HIVE_DEFAULT_PARTITION__', null"
    table.insert(f"select id, key from range(40) lateral view explode(array({keys})) as key", MANY)
    return table


def by_identity(catalog: Catalog, name: str) -> Table:
    """Values of many types kept as they are."""
    table = catalog.create(
        name, "id bigint, flag boolean, n int, price decimal(9, 2), day date, at timestamp, raw binary, f float",
        "flag, n, price, day, at, raw, f")
    table.insert("""select id, id % 2 = 0, -5, cast(1.50 as decimal(9, 2)), date '1960-02-29',
        timestamp '2024-02-29 12:00:00.000001', X'00FF2F', if(id % 2 = 0, float('-0.5'), null) from range(60)""", MANY)
    return table


EVERY_TYPE = """flag boolean, i int, l bigint, f float, d double, p4 decimal(4, 2), p18 decimal(18, 4),
    p38 decimal(38, 10), day date, at timestamp, local timestamp_ntz, s string, raw binary,
    list array<int>, dictionary map<string, array<struct<a: int, b: map<string, double>>>>,
    deep struct<x: struct<y: array<struct<z: map<int, string>, w: decimal(9, 2)>>, e: string>, n: int>"""
TYPICAL = """id % 2 = 0, cast(id as int), id, cast(id / 3 as float), id / 3, cast(id % 50 as decimal(4, 2)),
    cast(id as decimal(18, 4)), cast(id as decimal(38, 10)), date_add(date '1999-12-31', cast(id as int)),
    timestamp_micros(id), timestamp_ntz '2001-02-03 04:05:06.789012', concat('text ', id), cast(id as binary),
    array(cast(id as int), null), map('k', array(named_struct('a', 1, 'b', map('m', id / 3)), null)),
    named_struct('x', named_struct('y', array(named_struct('z', map(1, 'one', 2, null), 'w', cast(1 as decimal(9, 2)))),
        'e', ''), 'n', null)"""
_NULLS = ", ".join(["null"] * 16)
_EXTREMES = """true, int({i}), bigint({l}), float('{f}'), double('{f}'), cast({s}99.99 as decimal(4, 2)),
    cast({s}99999999999999.9999 as decimal(18, 4)), cast('{s}9999999999999999999999999999.9999999999' as decimal(38, 10)),
    date '{day}', timestamp '{day} 00:00:00', timestamp_ntz '{day} 23:59:59.999999', '{text}', X'{raw}',
    array(), map(), named_struct('x', named_struct('y', array(), 'e', null), 'n', {i})"""


def every_type(catalog: Catalog, name: str) -> Table:
    """Every type Spark has, nested three deep, with nulls, extremes, NaN, infinities and both zeros."""
    table = catalog.create(name, EVERY_TYPE)
    least = dict(i="-2147483648", l="-9223372036854775807 - 1", s="-", day="0001-01-05", text="", raw="")
    most = dict(i="2147483647", l="9223372036854775807", s="", day="9999-12-31", text="\U0001f9ca snow", raw="FF" * 40)
    rows = [f"select {TYPICAL} from range(100)", f"select {_NULLS}"]
    rows += [f"select {_EXTREMES.format(f=value, **least)}" for value in ("-0.0", "0.0", "NaN", "-Infinity", "1e-45")]
    rows += [f"select {_EXTREMES.format(f=value, **most)}" for value in ("Infinity", "3.4028235e38")]
    table.sql("insert into {t} " + " union all ".join(rows))
    table.insert(f"select {TYPICAL} from range(100)", MANY)
    return table


_EVOLUTION = [
    """select cast(id as int) as id, float(1.5) as ratio, 2.25 as price, 'gone' as gone,
        named_struct('a', 1, 'old', 'o') as inner, array(named_struct('a', 1)) as list,
        map('k', named_struct('a', float(0.5))) as dictionary from range(50)""",
    "alter table {t} add column added string",
    "alter table {t} drop column gone",
    "alter table {t} rename column price to cost",
    "select cast(id as int) as id, 9.75 as cost, 'new' as added from range(50)",
    "alter table {t} alter column id type bigint",
    "alter table {t} alter column ratio type double",
    "alter table {t} alter column cost type decimal(12, 2)",
    "alter table {t} alter column added first",
    "select id + 4000000000 as id, 1e300 as ratio, 1234567890.12 as cost from range(50)",
    "alter table {t} add column inner.new array<int> first",
    "alter table {t} rename column inner.old to renamed",
    "alter table {t} drop column inner.a",
    "select id, named_struct('new', array(1, null), 'renamed', 'r') as inner from range(50)",
    "alter table {t} alter column list.element.a type bigint",
    "alter table {t} alter column dictionary.value.a type double",
    "alter table {t} add column list.element.b string after a",
    "select id, array(named_struct('a', 4000000000, 'b', 'x'), null) as list from range(50)",
    # A dropped column's name comes back for another column, which must not show the old one's values.
    "alter table {t} add column gone bigint",
    "select id, map('k', named_struct('a', 1e300), 'n', null) as dictionary, id as gone from range(50)",
]


def evolved_schema(catalog: Catalog, name: str) -> Table:
    """Columns added, dropped, renamed, reordered and promoted between writes, and the same inside nested types."""
    table = catalog.create(
        name, "id int, ratio float, price decimal(5, 2), gone string, inner struct<a: int, old: string>, "
        "list array<struct<a: int>>, dictionary map<string, struct<a: float>>",
        # Writes match columns by name and may leave some out.
        **{"write.spark.accept-any-schema": "true"})
    for step in _EVOLUTION:
        table.sql(step if step.startswith("alter") else f"insert into {{t}} {step}")
    return table


def evolved_spec(catalog: Catalog, name: str) -> Table:
    """Files of four specs: none, a bucket, another field beside it, and both replaced or dropped."""
    table = catalog.create(name, "id bigint, category string, day date")
    rows = "select id, concat('c', id % 2), date_add(date '2024-01-30', cast(id % 3 as int)) from range(120)"
    table.insert(rows, 2)
    for change in ("add partition field bucket(2, id)", "add partition field category",
                   "replace partition field category with months(day)", "drop partition field bucket(2, id)"):
        table.sql(f"alter table {{t}} {change}")
        table.insert(rows, 2)
    return table


def dropped_source(catalog: Catalog, name: str) -> Table:
    """A partition field whose column was dropped after it. Spark reads such a table but cannot compact it."""
    table = catalog.create(name, "id bigint, doomed int", "doomed")
    table.insert("select id, cast(id % 2 as int) from range(100)", MANY)
    table.sql("alter table {t} drop partition field doomed")
    table.sql("alter table {t} drop column doomed")
    table.insert("select id from range(100)", MANY)
    return table


def version_1(catalog: Catalog, name: str) -> Table:
    """Format version 1, with a partition field dropped: there it stays as a void transform."""
    table = catalog.create(name, "id bigint, category string", "category", **{"format-version": "1"})
    rows = "select id, concat('c', id % 2) from range(100)"
    table.insert(rows, MANY)
    table.sql("alter table {t} drop partition field category")
    table.insert(rows, 2)
    table.sql("alter table {t} add partition field truncate(1, category)")
    table.insert(rows, MANY)
    return table


def upgraded(catalog: Catalog, name: str) -> Table:
    """Files of version 1 without sequence numbers, then upgraded and deleted from."""
    table = unpartitioned(catalog, name, **{"format-version": "1", **MERGE_ON_READ})
    table.sql("alter table {t} set tblproperties ('format-version' = '2')")
    table.sql("delete from {t} where id % 10 = 3")
    table.insert(_ROWS.format(0), 2)
    return table


def _merge_on_read(catalog: Catalog, name: str, granularity: str, partitioned: str = "") -> Table:
    table = catalog.create(name, "id bigint, category string, v string", partitioned,
                           **MERGE_ON_READ, **{"write.delete.granularity": granularity})
    table.insert("select id, concat('c', id % 2), concat('v', id) from range(1000)", MANY)
    for remainder in (1, 2, 3):
        table.sql(f"delete from {{t}} where id % 20 = {remainder}")
    table.sql("update {t} set v = concat(v, ' updated') where id % 20 = 7")
    table.sql("""merge into {t} t using (select id * 20 + 9 as id from range(60)) s on t.id = s.id
        when matched and t.id < 500 then delete when matched then update set v = 'merged'
        when not matched then insert (id, category, v) values (s.id, 'c1', 'new')""")
    return table


def position_deletes_by_file(catalog: Catalog, name: str) -> Table:
    return _merge_on_read(catalog, name, "file")


def position_deletes_by_partition(catalog: Catalog, name: str) -> Table:
    return _merge_on_read(catalog, name, "partition", "category")


def dangling_deletes(catalog: Catalog, name: str) -> Table:
    """Delete files of a partition whose data files Spark has compacted since, and a row deleted twice."""
    table = _merge_on_read(catalog, name, "partition", "category")
    java = JavaWriter(table)
    data = table.sql("select _file, _pos from {t} where category = 'c0' order by 1, 2 limit 3").collect()
    for _ in range(2):
        java.commit(deletes=[java.position_delete([(row._file, row._pos) for row in data], ["c0"])])
    table.sql("""call {system}.rewrite_data_files(table => '{name}', where => 'category = "c1"',
        options => map('rewrite-all', 'true', 'remove-dangling-deletes', 'false'))""")
    return table


def object_storage(catalog: Catalog, name: str) -> Table:
    """Data files under hashed folders."""
    return unpartitioned(catalog, name, **{"write.object-storage.enabled": "true"})


def data_elsewhere(catalog: Catalog, name: str) -> Table:
    """Data and metadata files in folders named by properties, still within the table's folder."""
    home = f"file://{catalog.warehouse}/{name.replace('.', '/')}"
    return unpartitioned(catalog, name, **{"write.data.path": f"{home}/moved data", "write.metadata.path": f"{home}/moved-metadata"})


def metrics_modes(catalog: Catalog, name: str) -> Table:
    """Each column's statistics kept in another way."""
    return unpartitioned(catalog, name, **{
        "write.metadata.metrics.default": "counts",
        "write.metadata.metrics.column.id": "full",
        "write.metadata.metrics.column.name": "truncate(5)",
        "write.metadata.metrics.column.ratio": "none",
    })


def parquet_settings(catalog: Catalog, name: str) -> Table:
    """Codec, row groups, dictionaries and bloom filters set by properties."""
    return unpartitioned(catalog, name, **{
        "write.parquet.compression-codec": "gzip",
        "write.parquet.row-group-size-bytes": "2048",
        "write.parquet.page-size-bytes": "512",
        "write.parquet.dict-size-bytes": "1024",
        "write.parquet.bloom-filter-enabled.column.name": "true",
    })


COMPACTED: list[Builder] = [
    unpartitioned, by_time, by_hour_and_year, by_bucket, by_truncate, by_odd_strings, by_identity, every_type,
    evolved_schema, evolved_spec, version_1, upgraded, position_deletes_by_file, position_deletes_by_partition,
    dangling_deletes, object_storage, data_elsewhere, metrics_modes, parquet_settings, *EQUALITY,
]

# Columns PyIceberg reads wrongly: after evolution a null list or map comes back empty.
PYICEBERG_MISREADS = {evolved_schema: ("list", "dictionary")}
