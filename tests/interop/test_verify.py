"""The option verify: what is checked before a commit, and what the snapshot summary says of it."""

import re
from collections.abc import Callable

import pytest

import check
import snowpack
import tables
from lake import Catalog, Table

VERIFY, CHECKSUM = "snowpack.verify", "snowpack.rows-checksum"


def with_lineage(catalog: Catalog, name: str) -> Table:
    return tables.unpartitioned(catalog, name, **{"format-version": "3"})


def checksum(table: Table, **options: object) -> str:
    """What a rewrite of all rows says of them, on a copy."""
    with table.rewound():
        before = check.take(table)
        snowpack.compact(table, verify="content", rewrite_all="true", **options).completed()
        check.same_rows(table, before)
        summary = check.current_summary(table)
        assert summary[VERIFY] == "content"
        return summary[CHECKSUM]


@pytest.mark.parametrize("kind", [tables.every_type, tables.evolved_schema, tables.position_deletes_by_file, with_lineage])
def test_the_sum_is_of_the_rows_whatever_their_order_and_files(lake: Catalog, kind: Callable[[Catalog, str], Table]):
    table = kind(lake, f"verified.{kind.__name__}")
    packed = checksum(table)
    assert re.fullmatch("[0-9a-f]{32}", packed)
    column = table.sql("select * from {t} limit 0").columns[1]
    assert checksum(table, strategy="sort", sort_order=f"{column} desc nulls last") == packed
    assert checksum(table, max_file_group_size_bytes=1, **{"partial-progress.enabled": "false"}) == packed


def test_one_other_row_is_another_sum(lake: Catalog):
    table = tables.unpartitioned(lake, "verified.changed")
    before = checksum(table)
    table.sql("update {t} set name = 'another' where id = 7")
    assert checksum(table) != before


@pytest.mark.parametrize("verify", ["off", "counts"])
def test_without_contents_there_is_no_sum(lake: Catalog, verify: str):
    table = tables.unpartitioned(lake, f"verified.{verify}")
    snowpack.compact(table, verify=verify).completed()
    summary = check.current_summary(table)
    assert summary[VERIFY] == verify and CHECKSUM not in summary


def test_a_table_property_decides_where_a_job_says_nothing(lake: Catalog):
    table = tables.position_deletes_by_file(lake, "verified.property")
    table.sql("alter table {t} set tblproperties ('snowpack.verify' = 'content')")
    before = check.take(table)
    snowpack.run(table, "rewrite_position_delete_files", options={"rewrite-all": "true"}).completed()
    assert check.current_summary(table)[VERIFY] == "content"
    snowpack.compact(table, verify="off", rewrite_all="true").completed()
    assert check.current_summary(table)[VERIFY] == "off"
    check.same_rows(table, before)


def test_any_other_word_is_refused(lake: Catalog):
    table = tables.unpartitioned(lake, "verified.refused")
    refused = snowpack.compact(table, verify="rows").failed()
    assert "verify" in refused.said and "content" in refused.said
