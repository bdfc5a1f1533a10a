"""Nobody asks for anything: schedules fire, the orchestrator submits, workers maintain, while a writer goes on."""

import contextlib
import json
import threading
import time

import pyarrow
import pytest
from pyiceberg.exceptions import CommitFailedException

import glue_spark
from lake import REGIONS, SCHEMA

ENROLLED = {"snowpack.maintenance_enabled": "true"}
# Three schedules of a minute each in a row, and a worker's cold start on a busy machine.
PATIENCE_SECONDS = 300
WRITER_PAUSE_SECONDS = 1.0
FIRST_NEW_ID = 1_000_000


def completed(api, table):
    """Jobs of the table that have completed, once there are some."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        jobs = api.get(f"/jobs/history?table={table}&status=completed").body
        if jobs:
            return jobs
        time.sleep(2)
    pytest.fail(f"no job was completed for {table}: {api.get('/orchestrator/runs').body[:3]}")


class Writer(threading.Thread):
    """Appends a row at a time, and tries again when a commit was lost to another."""

    def __init__(self, lake, table):
        super().__init__()
        self._lake, self._table = lake, table
        self._told_to_stop = threading.Event()
        self.ids = []
        self.failure = None

    def run(self):
        try:
            while not self._told_to_stop.wait(WRITER_PAUSE_SECONDS):
                self._append(FIRST_NEW_ID + len(self.ids))
        except Exception as failure:  # shown by whoever stops the writer
            self.failure = failure

    def _append(self, number):
        row = pyarrow.table({"id": [number], "region": [REGIONS[0]], "note": ["new"]}, SCHEMA.as_arrow())
        for _ in range(20):
            with contextlib.suppress(CommitFailedException):
                self._lake.catalog.load_table(self._table).append(row)
                self.ids.append(number)
                return
        raise AssertionError(f"the row {number} could not be appended: the writer is kept out")

    def stop(self):
        self._told_to_stop.set()
        self.join()
        if self.failure:
            raise self.failure


def test_the_schedule_maintains_a_table_while_it_is_written_to(api, lake, stack):
    enrolled = lake.create("enrolled", appends=8, properties=ENROLLED)
    silent = lake.create("not_enrolled", appends=8)
    rows, left_alone = lake.rows(enrolled), lake.files(silent)
    writer = Writer(lake, enrolled)
    writer.start()
    try:
        job = completed(api, enrolled)[-1]
    finally:
        writer.stop()
    assert [r["action"] for r in job["results"]][0] == "rewrite_data_files", job
    assert writer.ids, "the writer wrote something meanwhile"
    appended = [{"id": number, "region": REGIONS[0], "note": "new"} for number in writer.ids]
    assert lake.rows(enrolled) == rows + appended
    assert lake.files(silent) == left_alone
    assert api.get(f"/jobs?table={silent.split('.')[1]}").body == []

    run = next(run for run in api.get("/orchestrator/runs").body if run["jobs_submitted"])
    assert (run["dry_run"], run["tables_assessed"] >= 1, run["skip_reasons"]["not_opted_in"] >= 1) == (False, True, True)
    assert api.get(f"/orchestrator/runs/{run['id']}").body["id"] == run["id"]


def test_a_table_of_spark_with_deletes_is_found_and_maintained(api, emulator, lake, stack, tmp_path_factory):
    spark = glue_spark.start(emulator, tmp_path_factory.mktemp("spark"))
    table = glue_spark.create_with_deletes(spark, "found")
    rows = glue_spark.rows(spark, table)
    spark.sql(f"alter table {glue_spark.CATALOG}.{table} set tblproperties ('snowpack.maintenance_enabled'='true')")
    completed(api, table)
    assert glue_spark.rows(spark, table) == rows
    assert glue_spark.contents(spark, table).get(1, 0) == 0, "the deletes are applied"


def test_sync_finds_new_tables_and_forgets_dropped_ones(api, emulator, lake, stack):
    table = lake.create("comes_and_goes", appends=6)
    path = "/tables/{}/{}".format(*table.split("."))
    invoke(emulator, stack["SyncFunctionName"])
    listed = {(entry["database"], entry["table_name"]) for entry in api.get("/tables?limit=500").body}
    assert tuple(table.split(".")) in listed
    assert api.get("/tables/cache-status").body["last_synced"]
    assert api.get("/readyz").status == 200

    report = api.get(f"{path}/health/cached").body
    assert report["file_stats"]["total_data_files"] == len(lake.files(table))
    assert report["file_stats"]["small_file_count"] == len(lake.files(table))
    assert report["needs_maintenance"] and "rewrite_data_files" in report["recommended_actions"]
    live = api.get(f"{path}/health").body
    assert (live["source"], live["file_stats"]) == ("live", report["file_stats"])
    advice = api.get(f"{path}/maintenance/recommendation").body
    assert advice["skip_reason"] == "not_opted_in"

    lake.catalog.drop_table(table)
    invoke(emulator, stack["SyncFunctionName"])
    assert api.get(path).status == 404


def test_a_dry_run_says_what_would_be_submitted(api, emulator, lake, stack):
    table = lake.create("would_be", appends=6, properties={**ENROLLED, "snowpack.maintenance_cadence_hours": "1"})
    invoke(emulator, stack["SyncFunctionName"])
    run = invoke(emulator, stack["OrchestratorFunctionName"], {"dry_run": True, "tables": [table]})
    assert (run["dry_run"], run["jobs_submitted"], run["status"]) == (True, 1, "completed"), run


def test_drain_keeps_everything_from_starting(api, emulator, lake, stack):
    table = lake.create("drained", appends=6, properties=ENROLLED)
    drain = {"enabled": True, "reason": "moving house"}
    assert api.request("PUT", "/drain", drain).status == 200
    try:
        refused = api.submit(table, ["rewrite_data_files"])
        assert (refused.status, refused.body["error"]) == (503, "drain_mode")
        invoke(emulator, stack["SyncFunctionName"])
        run = invoke(emulator, stack["OrchestratorFunctionName"], {"tables": [table]})
        assert (run["jobs_submitted"], run["skip_reasons"]) == (0, {"draining": 1}), run
    finally:
        assert api.request("PUT", "/drain", {"enabled": False}).status == 200
    assert completed(api, table)


def invoke(emulator, function, payload=None):
    """What the function answers."""
    answer = emulator.client("lambda").invoke(FunctionName=function, Payload=json.dumps(payload or {}).encode())
    text = answer["Payload"].read()
    assert "FunctionError" not in answer, text
    return json.loads(text)
