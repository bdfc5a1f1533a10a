"""Tables with equality deletes, as a stream of changes leaves them."""

from java_writer import JavaWriter
from lake import Catalog, Table

_PARTS = ("eu", "us")


def _part(id: int) -> str:
    return _PARTS[id % 2]


def _row(id: int, value: str) -> dict:
    return {"id": id, "region": _part(id), "name": None if id % 10 == 0 else f"n{id % 5}", "v": value}


def _create(catalog: Catalog, name: str, partitioned: str = "") -> Table:
    return catalog.create(name, "id int, region string, name string, v string", partitioned)


def _appended(table: Table, partitioned: bool = False) -> JavaWriter:
    """Six commits of twenty rows, one file each or one per region."""
    java = JavaWriter(table)
    for start in range(0, 120, 20):
        rows = [_row(id, "first") for id in range(start, start + 20)]
        if partitioned:
            java.commit(java.data([row for row in rows if row["region"] == part], [part]) for part in _PARTS)
        else:
            java.commit([java.data(rows)])
    return java


def equality_unpartitioned(catalog: Catalog, name: str) -> Table:
    """Deletes by one column, by two, and by a null key, which matches null."""
    table = _create(catalog, name)
    java = _appended(table)
    java.commit(deletes=[java.equality_delete(["id"], [(id,) for id in range(5, 50, 5)])])
    java.commit(deletes=[java.equality_delete(["region", "name"], [("eu", "n2"), ("nowhere", "n1")])])
    java.commit(deletes=[java.equality_delete(["name"], [(None,)])])
    java.commit([java.data([_row(10, "back"), _row(200, "late")])])
    return table


def equality_partitioned(catalog: Catalog, name: str) -> Table:
    """Deletes that hold in one partition only, though their keys exist in the other."""
    table = _create(catalog, name, "region")
    java = _appended(table, partitioned=True)
    java.commit(deletes=[java.equality_delete(["name"], [("n1",), ("n2",)], ["eu"])])
    java.commit(deletes=[java.equality_delete(["id"], [(id,) for id in range(1, 60, 4)], ["us"])])
    return table


def equality_global(catalog: Catalog, name: str) -> Table:
    """Deletes written under an unpartitioned spec, which hold in every partition of later specs."""
    table = _create(catalog, name)
    java = _appended(table)
    table.sql("alter table {t} add partition field region")
    java.refresh(table)
    for part in _PARTS:
        rows = [row for row in (_row(id, "partitioned") for id in range(120, 160)) if row["region"] == part]
        java.commit([java.data(rows[:10], [part]), java.data(rows[10:], [part])])
    table.sql("alter table {t} drop partition field region")
    java.refresh(table)
    java.commit(deletes=[java.equality_delete(["id"], [(id,) for id in range(100, 140, 3)])])
    return table


def equality_upserts(catalog: Catalog, name: str) -> Table:
    """Deletes that come with the new rows of the same keys: they must not hit those, nor later ones."""
    table = _create(catalog, name)
    java = _appended(table)
    for turn in range(4):
        changed = range(turn, 120, 10)
        rows = java.data(_row(id, f"turn {turn}") for id in changed)
        java.commit([rows], [java.equality_delete(["id"], [(id,) for id in changed])])
    return table


def equality_with_positions(catalog: Catalog, name: str) -> Table:
    """Both kinds of delete on the same files, and one that matches nothing."""
    table = _create(catalog, name)
    java = _appended(table)
    found = table.sql("select _file, _pos from {t} where id % 9 = 4").collect()
    java.commit(deletes=[java.position_delete((row._file, row._pos) for row in found)])
    java.commit(deletes=[java.equality_delete(["id"], [(id,) for id in range(0, 120, 6)])])
    java.commit(deletes=[java.equality_delete(["id"], [(999_999,)])])
    return table


def equality_evolved(catalog: Catalog, name: str) -> Table:
    """Deletes older than the renaming of the column they name, and some on a column the older files lack."""
    table = _create(catalog, name)
    java = _appended(table)
    java.commit(deletes=[java.equality_delete(["name"], [("n4",)])])
    table.sql("alter table {t} rename column name to title")
    table.sql("alter table {t} add column added string")
    java.refresh(table)
    rows = [{"id": 200 + n, "region": "us", "title": f"n{n}", "added": "a" if n % 2 else None} for n in range(20)]
    java.commit([java.data(rows)])
    java.commit(deletes=[java.equality_delete(["title"], [("n3",), ("n18",)])])
    # Rows of files without the column have null in it, so this hits them too.
    java.commit(deletes=[java.equality_delete(["added", "region"], [(None, "us")])])
    return table


def equality_promoted(catalog: Catalog, name: str) -> Table:
    """Deletes by an int column that has become a bigint, and by the bigint. Only the last snapshot is kept, because
    Spark fails to read the older ones, whose schema says int."""
    table = _create(catalog, name)
    java = _appended(table)
    java.commit(deletes=[java.equality_delete(["id"], [(3,), (33,)])])
    table.sql("alter table {t} alter column id type bigint")
    java.refresh(table)
    beyond_int = 5_000_000_000
    java.commit([java.data({"id": beyond_int + n, "region": "eu", "name": "n", "v": "late"} for n in range(20))])
    java.commit(deletes=[java.equality_delete(["id"], [(beyond_int + 1,)])])
    table.sql("call {system}.expire_snapshots(table => '{name}', older_than => timestamp '9999-01-01', retain_last => 1)")
    return table


EQUALITY = [
    equality_unpartitioned, equality_partitioned, equality_global, equality_upserts, equality_with_positions,
    equality_evolved, equality_promoted,
]
