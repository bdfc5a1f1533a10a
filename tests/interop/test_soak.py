"""Ten thousand jobs over five hundred tables through the local server, among cancels, drains, writers and kills."""

import random
import sqlite3
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException

from lake import Catalog
from server import TERMINAL, Server

TABLES = 500
JOBS = 10_000
CALLERS = 16
WORKERS = 8
# The server is killed after each of these shares of the jobs; memory is looked at before the first.
KILLS_AFTER = (0.6, 0.7, 0.8, 0.9)
# Jobs after which the server's memory has settled, and how much it may still grow.
SETTLED_AFTER = 0.15
GROWTH_MIB = 64
SETTLE_SECONDS = 240
# Every caller gives up after this time, however many jobs are missing.
PATIENCE_SECONDS = 900
BUSY_SECONDS = 0.1
ACTIONS = ["rewrite_data_files", "expire_snapshots", "rewrite_manifests"]
OPTIONS = {"rewrite_data_files": {"min-input-files": 2}}
SCHEMA = pyarrow.schema([("id", pyarrow.int64())])


class Soak:
    """The tables, what was written to them, and what the server said to whom."""

    def __init__(self, root: Path):
        self.root = root
        database = root / "catalog.db"
        warehouse = root / "warehouse"
        warehouse.mkdir()
        self.pyiceberg = SqlCatalog("soak", uri=f"sqlite:///{database}", warehouse=f"file://{warehouse}")
        flags = ["--catalog", "sql", "--catalog-uri", f"sqlite:///{database}", "--catalog-name", "soak"]
        self.catalog = Catalog(None, "soak", warehouse, [*flags, "--warehouse", f"file://{warehouse}"], database)
        self.names = [f"soak.t{number:03}" for number in range(TABLES)]
        self.rows = Counter()
        self.said = Counter()
        self.accepted = set()
        self.submits = 0
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.deadline = time.monotonic() + PATIENCE_SECONDS

    def create(self) -> None:
        self.pyiceberg.create_namespace("soak")
        for name in self.names:
            self.pyiceberg.create_table(name, SCHEMA)
            self.append(name)
            self.append(name)

    def append(self, name: str) -> None:
        count = 3
        try:
            self.pyiceberg.load_table(name).append(pyarrow.table({"id": list(range(count))}, SCHEMA))
        except CommitFailedException:
            return
        self.rows[name] += count

    def write(self) -> None:
        """Another writer, for as long as the soak lasts."""
        chance = random.Random(1)
        while not self.stop.is_set():
            self.append(chance.choice(self.names))

    def call(self, server: Server, seed: int) -> None:
        """One caller's request: mostly a submit, now and then a repeated one, a cancel or a turn of the switch."""
        chance = random.Random(seed)
        name = chance.choice(self.names)
        if chance.random() < 0.02:
            name = "soak.no_such_table"
        body = {"actions": chance.sample(ACTIONS, chance.randint(1, len(ACTIONS))), "options": {}}
        if "rewrite_data_files" in body["actions"]:
            body["options"] = OPTIONS
        key = {"Idempotency-Key": f"soak-{seed}"}
        path = "/tables/{}/{}/maintenance".format(*name.rsplit(".", 1))
        status, job = server.request("POST", path, body, key)
        with self.lock:
            self.said[status] += 1
            if status == 202:
                self.accepted.add(job["job_id"])
        if status != 202:
            assert status in (404, 409, 503), job
            # Most tables are busy: callers are faster than workers.
            time.sleep(BUSY_SECONDS)
            return
        dice = chance.random()
        if dice < 0.05:
            status, again = server.request("POST", path, body, key)
            assert status == 503 or (status, again["job_id"]) == (202, job["job_id"]), again
        elif dice < 0.15:
            status, cancelled = server.request("POST", f"/jobs/{job['job_id']}/cancel")
            assert (status, cancelled.get("status")) == (200, "cancelled") or status == 409, cancelled
        elif dice < 0.16:
            server.request("PUT", "/drain", {"enabled": True, "reason": "soak"})
            server.request("PUT", "/drain", {"enabled": False})

    def run_until(self, server: Server, jobs: int) -> None:
        """Callers at work until that many jobs are accepted."""

        def caller(number: int) -> None:
            while len(self.accepted) < jobs:
                assert time.monotonic() < self.deadline, f"only {len(self.accepted)} jobs of {jobs}"
                with self.lock:
                    self.submits += 1
                    seed = self.submits
                self.call(server, seed)

        with ThreadPoolExecutor(CALLERS) as callers:
            list(callers.map(caller, range(CALLERS)))

    def settle(self, server: Server) -> None:
        """Waits until no job is active."""
        deadline = time.monotonic() + SETTLE_SECONDS
        for status in ("running", "pending", "running"):
            while active := server.request("GET", f"/jobs?status={status}&limit=5")[1]:
                assert time.monotonic() < deadline, active
                time.sleep(0.2)


def test_every_job_ends_and_nothing_is_left_behind(tmp_path: Path):
    soak = Soak(tmp_path)
    soak.create()
    state = tmp_path / "state"
    writer = threading.Thread(target=soak.write)
    writer.start()
    try:
        with Server(soak.catalog, state, workers=WORKERS) as server:
            soak.run_until(server, int(JOBS * SETTLED_AFTER))
            settled = server.memory_mib()
            soak.run_until(server, int(JOBS * KILLS_AFTER[0]))
            grown = server.memory_mib() - settled
        for share in (*KILLS_AFTER[1:], 1):
            with Server(soak.catalog, state, workers=WORKERS) as server:
                soak.run_until(server, int(JOBS * share))
    finally:
        soak.stop.set()
        writer.join()
    with Server(soak.catalog, state, workers=WORKERS) as server:
        soak.settle(server)
    with sqlite3.connect(next(state.glob("*.db"))) as database:
        jobs = dict(database.execute("select id, status from jobs"))
        held = database.execute("select count(*) from locks where holder is not null").fetchone()[0]
        errors = database.execute("select json_extract(document, '$.error') from jobs where status = 'failed'").fetchall()
    print(f"answers {dict(soak.said)}, jobs {Counter(jobs.values())}, memory {settled:.0f} MiB, grown {grown:.0f} MiB")
    assert soak.accepted <= jobs.keys() and set(jobs.values()) <= set(TERMINAL)
    assert Counter(jobs.values())["completed"] > JOBS / 2
    assert held == 0
    assert all("gave up after 3 attempts" in error or "conflict" in error for (error,) in errors), errors[:5]
    assert grown < GROWTH_MIB, f"{settled:.0f} MiB + {grown:.0f} MiB"
    for name in soak.names:
        table = soak.pyiceberg.load_table(name)
        assert table.scan().to_arrow().num_rows == soak.rows[name], name
