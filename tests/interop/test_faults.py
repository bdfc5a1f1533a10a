"""Broken files, unsupported tables and wrong arguments: a clear error, and a table as it was."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import check
import snowpack
import tables
from lake import Catalog, Table, local_path


@pytest.fixture(scope="module")
def table(lake: Catalog) -> Table:
    return tables.unpartitioned(lake, "faults.small")


@contextlib.contextmanager
def damaged(path: Path, keep: int | None) -> Iterator[None]:
    """Cuts a file to `keep` bytes, or removes it, while the block runs."""
    content = path.read_bytes()
    path.unlink()
    if keep is not None:
        path.write_bytes(content[:keep])
    try:
        yield
    finally:
        path.write_bytes(content)


def manifest(table: Table) -> Path:
    return local_path(table.metadata_table("manifests", "path")[0].path)


def manifest_list(table: Table) -> Path:
    return local_path(table.java().currentSnapshot().manifestListLocation())


BROKEN_FILES = {
    "data": lambda table: table.data_files()[3],
    "manifest": manifest,
    "manifest_list": manifest_list,
    "metadata": lambda table: local_path(table.metadata_location()),
}


@pytest.mark.parametrize("kind", BROKEN_FILES)
@pytest.mark.parametrize("keep", [None, 0, 100], ids=["missing", "empty", "truncated"])
def test_a_broken_file_fails_the_run_and_is_named(table: Table, kind: str, keep: int | None):
    path = BROKEN_FILES[kind](table)
    location, files = check.footprint(table)
    before = check.take(table)
    with damaged(path, keep):
        outcome = snowpack.compact(table).failed()
    assert path.name in outcome.said
    # Nothing committed, and what was written on the way removed again.
    assert check.footprint(table) == (location, files)
    check.same_rows(table, before)


def test_expiry_with_a_missing_manifest_deletes_nothing_in_use(lake: Catalog):
    """Only the snapshots that go know the manifest, so what it lists cannot be told; what is kept must stay whole."""
    table = tables.unpartitioned(lake, "faults.expire")
    lost = manifest(table)
    table.sql("insert overwrite {t} select * from {t} where id < 100")
    before = check.take(table)
    current = table.java().currentSnapshot().snapshotId()
    with damaged(lost, None):
        options = {"older_than": 4_000_000_000_000, "retain_last": 1}
        snowpack.run(table, "expire_snapshots", options=options)
        check.same_rows(table, before, kept=[current])


@pytest.mark.parametrize("format", ["orc", "avro"])
def test_data_files_other_than_parquet_are_not_touched(lake: Catalog, format: str):
    table = tables.unpartitioned(lake, f"faults.in_{format}", **{"write.format.default": format})
    before = check.footprint(table)
    assert format in snowpack.compact(table).said.lower()
    assert check.footprint(table) == before


@pytest.mark.parametrize("actions, options, named", [
    (["compact"], {}, "compact"),
    (["rewrite_data_files"], {"rewrite_data_files.target": 1}, "target"),
    (["rewrite_data_files"], {"target-file-size-bytes": "many"}, "many"),
    (["rewrite_data_files"], {"target-file-size-bytes": 0}, "target-file-size-bytes"),
    (["rewrite_data_files"], {"min-file-size-bytes": 10, "max-file-size-bytes": 5}, "file-size-bytes"),
    (["rewrite_data_files"], {"where": "nobody > 1"}, "nobody"),
    (["rewrite_data_files"], {"output-spec-id": 17}, "17"),
    (["expire_snapshots"], {"retain_last": 0}, "retain_last"),
    (["expire_snapshots"], {"snapshot_ids": "1,two"}, "snapshot_ids"),
], ids=lambda value: None)
def test_wrong_arguments_are_named_and_nothing_is_done(table: Table, actions: list[str], options: dict, named: str):
    before = check.footprint(table)
    assert named in snowpack.run(table, *actions, options=options).failed().said
    assert check.footprint(table) == before


@pytest.mark.parametrize("name, named", [
    ("faults.absent", "faults.absent"), ("nowhere.small", "nowhere.small"), ("faults", "faults"),
    ("faults.a b", "a b"), ("faults.../small", "/small"),
])
def test_no_such_table(lake: Catalog, name: str, named: str):
    assert named in snowpack.compact(Table(lake, name)).failed().said
