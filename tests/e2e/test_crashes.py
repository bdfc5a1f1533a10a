"""The deployed worker killed at every named point of a job: the sweeper hands the job on, and the table is whole."""

import contextlib
import json
import time

import pytest

from test_maintenance import BOTH, expire_all_but_the_last

POINTS = ["after-claim", "mid-read", "files-written", "before-verify", "before-commit", "after-commit", "mid-delete"]


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_killed_anywhere_hands_its_job_on(api, emulator, lake, stack, worker_off, point):
    table = lake.create(f"killed_{point.replace('-', '_')}", appends=3)
    rows = lake.rows(table)
    options = {"rewrite_data_files": {"min-input-files": 2, "verify": "content"}, **expire_all_but_the_last()}
    with worker_off():
        job_id = api.submit(table, BOTH, options=options).body["job_id"]
        with crashing_at(emulator, stack["WorkerFunctionName"], point):
            assert run_worker(emulator, stack, job_id) == "killed"
        assert api.get(f"/jobs/{job_id}").body["status"] == "running"
        assert lake.rows(table) == rows
        assert run_worker(emulator, stack, job_id) == {"batchItemFailures": []}, "held by the dead worker"
        assert api.get(f"/jobs/{job_id}").body["attempt"] == 1
        end_lease(emulator, stack, job_id)
        emulator.client("lambda").invoke(FunctionName=stack["SweeperFunctionName"], Payload=b"{}")
    job = api.wait(job_id)
    assert (job["status"], job["attempt"]) == ("completed", 2), job
    assert [result["action"] for result in job["results"]] == BOTH
    assert lake.rows(table) == rows
    assert len(lake.files(table)) == 2
    assert api.submit(table, BOTH, dry_run=True).status == 202
    assert api.wait(api.submit(table, BOTH).body["job_id"])["status"] == "completed", "the table is free"


@contextlib.contextmanager
def crashing_at(emulator, function, point):
    """While it lasts, the function's processes kill themselves at `point`."""
    functions = emulator.client("lambda")
    variables = functions.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    configure = {"FunctionName": function, "Environment": {"Variables": {**variables, "SNOWPACK_CRASH_AT": point}}}
    functions.update_function_configuration(**configure)
    try:
        yield
    finally:
        functions.update_function_configuration(FunctionName=function, Environment={"Variables": variables})


def run_worker(emulator, stack, job_id):
    """Gives the worker the job's message as SQS would; what it answered, or "killed" when it died of it."""
    message = {"messageId": "1", "eventSource": "aws:sqs", "body": json.dumps({"version": 1, "job_id": job_id})}
    answer = emulator.client("lambda").invoke(
        FunctionName=stack["WorkerFunctionName"], Payload=json.dumps({"Records": [message]}).encode()
    )
    return "killed" if "FunctionError" in answer else json.loads(answer["Payload"].read())


def end_lease(emulator, stack, job_id):
    """Lets the lease of the job's worker run out, by moving its end and not by waiting for three minutes."""
    states = emulator.client("dynamodb")
    key = {"pk": {"S": f"JOB#{job_id}"}, "sk": {"S": "JOB"}}
    item = states.get_item(TableName=stack["StateTableName"], Key=key, ConsistentRead=True)["Item"]
    document = json.loads(item["document"]["S"])
    ended = int((time.time() - 1) * 1_000_000)
    document["lease"]["expires_at"] = ended
    item["document"]["S"] = json.dumps(document)
    item["due_key"]["S"] = f"{ended:020}#{job_id}"
    states.put_item(TableName=stack["StateTableName"], Item=item)
