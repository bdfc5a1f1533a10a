"""A person submits maintenance over the API's URL; the worker does it on a Glue table in S3."""

from datetime import datetime, timedelta, timezone

from client import TERMINAL
from lake import REGIONS

BOTH = ["rewrite_data_files", "expire_snapshots"]


def expire_all_but_the_last():
    """Options under which even the snapshots expire that the job itself makes on the way."""
    later = datetime.now(timezone.utc) + timedelta(hours=1)
    return {"expire_snapshots": {"older_than": later.isoformat(), "retain_last": 1}}


def test_a_job_compacts_and_expires_a_table(api, lake):
    table = lake.create("orders", appends=8)
    rows, files = lake.rows(table), lake.files(table)
    assert len(files) == 8 * len(REGIONS)

    submitted = api.submit(table, BOTH, options=expire_all_but_the_last())
    assert submitted.status == 202, submitted
    job = submitted.body
    assert submitted.headers["location"] == f"/jobs/{job['job_id']}"
    assert submitted.headers["retry-after"] == "30"
    assert (job["status"], job["actions"], job["dry_run"]) == ("pending", BOTH, False)

    job = api.wait(job["job_id"])
    assert job["status"] == "completed", job
    assert [result["action"] for result in job["results"]] == BOTH
    assert all(result["success"] and result["error"] is None for result in job["results"]), job
    assert job["results"][0]["message"] == "Compacted 16 files into 2 files"
    assert lake.rows(table) == rows
    assert len(lake.files(table)) == len(REGIONS)
    assert len(lake.snapshots(table)) == 1
    assert not set(files) & set(lake.objects(table)), "the files of expired snapshots are deleted"


def test_a_second_job_finds_nothing_to_do(api, lake):
    table = lake.create("twice")
    snapshots = []
    for expected in ("Compacted", "Nothing to do"):
        job = api.wait(api.submit(table, ["rewrite_data_files"]).body["job_id"])
        assert job["status"] == "completed", job
        assert job["results"][0]["message"].startswith(expected)
        snapshots.append(lake.snapshots(table))
    assert snapshots[0] == snapshots[1]


def test_a_table_has_one_active_job_and_a_pending_one_can_be_cancelled(api, lake, worker_off):
    table = lake.create("contended")
    files = lake.files(table)
    with worker_off():
        first = api.submit(table, BOTH).body["job_id"]
        second = api.submit(table, BOTH)
        assert (second.status, second.body["active_job_id"]) == (409, first)

        pending = api.get(f"/jobs/{first}")
        assert (pending.body["status"], pending.headers["retry-after"]) == ("pending", "30")

        cancelled = api.cancel(first)
        assert (cancelled.status, cancelled.body["status"]) == (200, "cancelled")
        assert api.cancel(first).status == 409

        third = api.submit(table, BOTH)
        assert third.status == 202, "cancelling freed the table"
    assert api.wait(third.body["job_id"])["status"] == "completed"
    assert api.get(f"/jobs/{first}").body["status"] == "cancelled", "its message was ignored"
    assert len(lake.files(table)) < len(files)


def test_a_dry_run_completes_at_once_and_changes_nothing(api, lake, worker_off):
    table = lake.create("previewed")
    before = lake.snapshots(table)
    with worker_off():
        running = api.submit(table, BOTH).body["job_id"]
        preview = api.submit(table, BOTH, dry_run=True)
        assert preview.status == 202, "no lock is needed"
        assert "retry-after" not in preview.headers
        job = preview.body
        assert (job["status"], job["dry_run"]) == ("completed", True)
        assert [result["message"] for result in job["results"]] == ["dry run", "dry run"]
        assert [result["elapsed_seconds"] for result in job["results"]] == [0.0, 0.0]
        assert job["results"][0]["preview"] is not None
        assert api.get(preview.headers["location"]).body == job
        assert lake.snapshots(table) == before
        api.cancel(running)


def test_a_table_dropped_after_submit_fails_its_job(api, lake, worker_off):
    table = lake.create("dropped")
    with worker_off():
        job_id = api.submit(table, BOTH).body["job_id"]
        lake.catalog.drop_table(table)
    job = api.wait(job_id)
    assert job["status"] == "failed"
    assert table in job["error"]


def test_jobs_are_listed_newest_first(api, lake):
    table = lake.create("listed")
    jobs = [api.wait(api.submit(table, ["rewrite_data_files"]).body["job_id"])["job_id"] for _ in range(2)]
    listed = api.get("/jobs/history?table=shop.listed&limit=1")
    assert [job["job_id"] for job in listed.body] == [jobs[1]]
    assert 'rel="next"' in listed.headers["link"]
    assert all(job["status"] in TERMINAL for job in listed.body)
