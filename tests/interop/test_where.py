"""The option where: the files it selects are those that Spark's procedures select on an identical copy.

With rewrite-all every selected file is replaced and no other one, which makes the selection visible.
"""

import pytest

import check
import snowpack
import tables
from lake import Catalog, Table

ROWS = """select id, cast(id % 7 as int) as i, float(id) / 4 as f, if(id % 5 = 0, null, id / 8.0D) as d,
    cast(id as decimal(9, 2)) / 4 as dec, concat('name ', lpad(id, 4, '0')) as s, date_add(date '1969-12-20', cast(id / 8 as int)) as dt,
    timestamp '1969-12-30 12:00:00' + make_interval(0, 0, 0, 0, cast(id as int)) as ts, id % 2 = 0 as flag, named_struct('a', id, 'b', null) as st"""
COLUMNS = "id bigint, i int, f float, d double, dec decimal(9, 2), s string, dt date, ts timestamp, flag boolean, st struct<a: bigint, b: string>"


def filled(catalog: Catalog, name: str, partitioned: str = "", **properties: str) -> Table:
    """Files that each hold a narrow range of every column, one of nulls and one of NaN."""
    table = catalog.create(name, COLUMNS, partitioned, **properties)
    for start in range(0, 240, 24):
        table.insert(f"{ROWS} from range({start}, {start} + 24)")
    table.insert("select 1000L, null, null, double('NaN'), null, null, null, null, null, null")
    table.insert("select null, null, null, null, null, null, null, null, null, null")
    return table


def evolved(catalog: Catalog, name: str) -> Table:
    """Files of four specs, and columns promoted, renamed and added between them."""
    table = catalog.create(name, "id bigint, i int, f float, d double, dec decimal(7, 2), old string, dt date, ts timestamp, flag boolean", "i")
    rows = ROWS.replace(" as s,", " as old,").rpartition(", named_struct")[0].replace("decimal(9, 2)", "decimal(7, 2)")
    for start in (0, 24):
        table.insert(f"{rows} from range({start}, {start} + 24)")
    for change in ("add partition field bucket(4, id)", "drop partition field i", "add partition field days(ts)",
                   "add partition field truncate(7, old)"):
        table.sql(f"alter table {{t}} {change}")
        table.insert(f"{rows} from range(48, 60)")
    table.sql("alter table {t} rename column old to s")
    table.sql("alter table {t} alter column f type double")
    table.sql("alter table {t} alter column dec type decimal(9, 2)")
    table.sql("alter table {t} add column st struct<a: bigint, b: string>")
    table.insert(f"{ROWS} from range(60, 72)")
    return table


KINDS = {
    "plain": lambda lake, name: filled(lake, name),
    "version_1": lambda lake, name: filled(lake, name, "truncate(50, id)", **{"format-version": "1"}),
    "version_3": lambda lake, name: filled(lake, name, "i", **{"format-version": "3"}),
    "identity": lambda lake, name: filled(lake, name, "i, flag"),
    "bucket": lambda lake, name: filled(lake, name, "bucket(5, id)"),
    "days": lambda lake, name: filled(lake, name, "days(ts), months(dt)"),
    "truncate": lambda lake, name: filled(lake, name, "truncate(7, s), truncate(100, dec)"),
    "evolved": evolved,
    "counts": lambda lake, name: filled(lake, name, **{"write.metadata.metrics.default": "counts"}),
    "short_bounds": lambda lake, name: filled(lake, name, **{"write.metadata.metrics.default": "truncate(6)"}),
}

CONDITIONS = [
    "id = 30", "id <=> NULL", "id != 30", "NOT (id > 30 OR id IS NULL)", "id < 100 AND i = 3", "id < 25 OR id > 200", "id IN (1, 30, 230)",
    "id NOT IN (1, 2)", "i NOT BETWEEN 1 AND 5", "i <=> 3", "i > 2.5", "i = 3000000000", "i < 3000000000", "f > 20.1", "d = double('NaN')",
    "d != double('NaN')", "d IS NULL", "d >= 29", "dec <= 12.255", "dec IN (3, 30.25)", "s LIKE 'name 003%'", "s NOT LIKE 'name 00%'",
    "s LIKE 'name 0030'", "s > 'name 02'", "dt = '1969-12-24'", "dt < DATE '1970-01-01'", "dt IN (DATE '1969-12-21', DATE '1970-01-05')",
    "ts <= '1969-12-31 18:00:00'", "ts = TIMESTAMP '1969-12-31 12:00:00'", "CAST(ts AS DATE) >= '1970-01-02'", "flag", "NOT flag OR id = 3",
    "flag = false AND id < 30", "st.a < 30", "st IS NULL", "ID = 30 AND `id` <> 31", "TRUE", "FALSE", "id = NULL",
    "lake.system.bucket(5, id) = 2", "lake.system.days(ts) = DATE '1970-01-01'", "lake.system.months(dt) < 0",
    "lake.system.truncate(7, s) = 'name 00'",
]
# Partitioned by identity, where Java takes a transform in a filter for the column itself, and leaves out files.
UNEQUAL = {"identity", "version_3"}


def replaced(table: Table, work) -> set[str]:
    """The names of the live data files that some work removes; the table is put back after it."""
    def live():
        return {row.file_path.rpartition("/")[2] for row in table.metadata_table("files", "file_path")}
    with table.rewound():
        before = live()
        work()
        return before - live()


def spark_procedure(table: Table, procedure: str, where: str) -> None:
    escaped = where.replace("\\", "\\\\").replace('"', '\\"')
    table.sql(f"""call {{system}}.{procedure}(table => '{{name}}', where => "{escaped}", options => map('rewrite-all', 'true'))""")


def planned_by_spark(table: Table, where: str) -> set[str]:
    """The names of the files that Spark's procedure scans: its own reading of the condition, and Iceberg's scan planning."""
    session = table.catalog.session
    converter = session._jvm.org.apache.spark.sql.execution.datasources.SparkExpressionConverter
    resolved = converter.collectResolvedSparkExpression(session._jsparkSession, table.identifier, where)
    scan = table.java().newScan().filter(converter.convertToIcebergExpression(resolved)).caseSensitive(False)
    tasks = scan.ignoreResiduals().planFiles().iterator()
    names = set()
    while tasks.hasNext():
        names.add(tasks.next().file().location().rpartition("/")[2])
    return names


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_data_files_are_selected(lake: Catalog, kind: str):
    table = KINDS[kind](lake, f"filtered.{kind}")
    before = check.take(table)
    unequal = {}
    for where in CONDITIONS:
        options = {"where": where, "rewrite-all": "true"}
        ours = replaced(table, lambda: snowpack.run(table, "rewrite_data_files", options=options).completed())
        spark = planned_by_spark(table, where)
        if ours != spark and not (ours > spark and kind in UNEQUAL and "system." in where):
            unequal[where] = (len(ours - spark), len(spark - ours))
    assert unequal == {}
    check.same_rows(table, before)


@pytest.mark.parametrize("kind", ["bucket", "evolved"])
def test_the_procedure_replaces_the_same_data_files(lake: Catalog, kind: str):
    table = KINDS[kind](lake, f"filtered.procedure_{kind}")
    for where in ["id = 30", "i NOT IN (1, 2)", "s LIKE 'name 003%' OR ts < '1969-12-31'", "FALSE"]:
        options = {"where": where, "rewrite-all": "true"}
        ours = replaced(table, lambda: snowpack.run(table, "rewrite_data_files", options=options).completed())
        assert ours == replaced(table, lambda: spark_procedure(table, "rewrite_data_files", where)), where


def test_the_same_position_delete_files_are_selected(lake: Catalog):
    table = lake.create("filtered.deletes", "id bigint, category string", "category, bucket(2, id)",
                        **tables.MERGE_ON_READ, **{"write.delete.granularity": "file"})
    table.insert("select id, concat('c', id % 3) from range(240)", 3)
    for remainder in (1, 2):
        table.sql(f"delete from {{t}} where id % 11 = {remainder}")
    sizes = set()
    for where in ["category = 'c1'", "category != 'c1'", "category IN ('c0', 'c2')", "id = 30", "id > 1000", "category = 'c1' AND id = 5",
                  "category LIKE 'c%'", "lake.system.bucket(2, id) = 1", "FALSE"]:
        options = {"where": where, "rewrite-all": "true"}
        ours = replaced(table, lambda: snowpack.run(table, "rewrite_position_delete_files", options=options).completed())
        spark = replaced(table, lambda: spark_procedure(table, "rewrite_position_delete_files", where))
        assert ours == spark, where
        sizes.add(len(ours))
    assert len(sizes) > 2, sizes


def test_deletes_outside_the_filter_stay(lake: Catalog):
    """Rows of every kept snapshot stay, and a second run of the same filter has nothing to do."""
    table = tables.position_deletes_by_partition(lake, "filtered.with_deletes")
    before = check.take(table)
    outside = {row.file_path for row in table.metadata_table("delete_files", "file_path, partition") if row.partition.category == "c0"}
    assert outside
    preview = snowpack.run(table, "rewrite_data_files", options={"where": "category = 'c1'"}, dry_run=True)
    outcome = snowpack.run(table, "rewrite_data_files", options={"where": "category = 'c1'"}).completed()
    assert outcome.message.startswith("Compacted "), outcome.message
    assert "filtered_out" in preview.said and "filtered_out" in outcome.said
    check.same_rows(table, before)
    check.sound(table)
    assert outside <= {row.file_path for row in table.metadata_table("delete_files", "file_path")}
    again = snowpack.run(table, "rewrite_data_files", options={"where": "category = 'c1'"}).completed()
    assert again.message.startswith("Nothing to do"), again.message


@pytest.mark.parametrize("where, named", [
    ("id = i", "both columns"), ("id % 2 = 0", "id % 2"), ("lower(s) = 'a'", "lower(s)"), ("s LIKE '%a'", "LIKE"), ("id = 5.0D", "double"),
    ("s = 5", "string"), ("dec = 123456789.5", "out of the range"), ("nope = 5", "nope"), ("dt IN ('2024-01-01')", "strings"),
    ("id = ", "condition"), ("id = 5; DROP TABLE x", "condition"), ("id", "boolean"), ("lake.system.years(id) = 5", "year"),
])
def test_what_spark_refuses_is_refused(lake: Catalog, where: str, named: str):
    table = lake.create(f"filtered.refused_{abs(hash(where))}", COLUMNS)
    table.insert(f"{ROWS} from range(10)", 2)
    before = check.footprint(table)
    for action in ("rewrite_data_files", "rewrite_position_delete_files"):
        said = snowpack.run(table, action, options={"where": where}).failed().said
        assert "where" in said and named in said, said
    with pytest.raises(Exception):
        spark_procedure(table, "rewrite_data_files", where)
    assert check.footprint(table) == before
