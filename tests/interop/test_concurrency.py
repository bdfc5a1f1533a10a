"""Other writers at work at the same time, and a process killed at any moment: no row lost, none back from the dead."""

import contextlib
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

from py4j.protocol import Py4JJavaError

import check
import snowpack
import tables
from lake import Catalog, Table

KILLS = 6
# A statement that loses to a compaction is run again, and none runs before it has succeeded.
ATTEMPTS = 20


class Writer(threading.Thread):
    """Calls a function in a loop with 0, 1, 2, ... and counts the calls that returned."""

    def __init__(self, write: Callable[[int], None]) -> None:
        super().__init__()
        self._write, self._finish = write, threading.Event()
        self.rounds = 0
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            while not self._finish.is_set():
                self._write(self.rounds)
                self.rounds += 1
        except Exception as error:
            self.error = error

    def wait_for_progress(self) -> None:
        """Waits until a call has returned that began before this moment."""
        seen = self.rounds
        while self.rounds == seen and self.is_alive():
            time.sleep(0.01)

    def finish(self) -> None:
        self._finish.set()
        self.join(timeout=60)
        assert not self.is_alive(), "the writer hangs"
        if self.error:
            raise self.error


@contextlib.contextmanager
def writing(write: Callable[[int], None]) -> Iterator[Writer]:
    """Keeps writing in another thread while the block runs."""
    writer = Writer(write)
    writer.start()
    try:
        yield writer
    finally:
        writer.finish()
    assert writer.rounds > 2, "too few writes to prove anything"


def test_appends_during_compaction(rest_catalog: Catalog):
    table = tables.unpartitioned(rest_catalog, "concurrent.appends")

    def append(round: int) -> None:
        table.sql(f"insert into {{t}} select 1000000 + {round} * 100 + id, 'new', 0.5 from range(100)")

    with writing(append) as writer:
        while writer.rounds < 8 and writer.is_alive():
            snowpack.compact(table, min_input_files=2).completed()
    rows = table.sql("select count(*) as total, count(distinct id) as ids from {t}").first()
    assert (rows.total, rows.ids) == (1200 + writer.rounds * 100,) * 2
    check.sound(table)


def test_deletes_and_updates_during_compaction(rest_catalog: Catalog):
    """Position deletes on files that are just being replaced: whoever commits second must notice."""
    table = rest_catalog.create("concurrent.deletes", "id bigint, v string", **tables.MERGE_ON_READ)
    table.insert("select id, 'old' from range(2000)", 8)

    def change(round: int) -> None:
        persist(table, f"delete from {{t}} where id = {round}")
        persist(table, f"update {{t}} set v = 'changed' where id = {1999 - round}")

    with writing(change) as writer:
        while writer.rounds < 8 and writer.is_alive():
            # Losing every group to the writer fails the run. What counts is what is in the table.
            snowpack.compact(table, rewrite_all="true")
            writer.wait_for_progress()
    found = {row.id: row.v for row in table.sql("select id, v from {t}").collect()}
    expected = {id: "changed" if id > 1999 - writer.rounds else "old" for id in range(writer.rounds, 2000)}
    assert found == expected
    check.sound(table)
    snowpack.compact(table, rewrite_all="true").completed()


def persist(table: Table, statement: str) -> None:
    """Runs a statement that may be repeated until no other commit gets in its way."""
    for attempt in range(ATTEMPTS):
        try:
            table.sql(statement)
            return
        except Py4JJavaError:
            if attempt == ATTEMPTS - 1:
                raise


def test_killed_at_any_moment(lake: Catalog):
    """Several commits in one run, and the process killed before, between and after them."""
    table = lake.create("concurrent.killed", "id bigint, v string", "truncate(300000, id)", **tables.MERGE_ON_READ)
    table.insert("select id, concat(uuid(), uuid(), id) from range(900000)", 8)
    table.sql("delete from {t} where id % 7 = 0")
    before = check.take(table)
    options = {"rewrite_data_files.partial-progress.max-commits": 10}
    with table.rewound():
        started = time.monotonic()
        snowpack.run(table, "rewrite_data_files", "expire_snapshots", options=options).completed()
        whole = time.monotonic() - started
    chance = random.Random(7)
    for _ in range(KILLS):
        process = subprocess.Popen(
            snowpack.command(table, "rewrite_data_files", "expire_snapshots", options=options),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0, whole))
        process.kill()
        process.wait()
        check.same_rows(table, before)
        check.sound(table)
    snowpack.run(table, "rewrite_data_files", "expire_snapshots", options=options).completed()
    check.same_rows(table, before)
    check.sound(table)
    assert len(table.data_files()) == 3
