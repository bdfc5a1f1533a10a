"""The life of a deployment: jobs that nothing can help, a new version while jobs run, its end."""

import json

from conftest import PARAMETERS
from deployment import deploy
from test_automation import invoke
from test_slices import append_twice, invocations_of, INVOCATION_SECONDS
from lake import DATABASE


def test_a_job_whose_message_died_fails_with_the_cause(api, emulator, lake, stack, worker_off):
    table = lake.create("dead_letter")
    with worker_off():
        job_id = api.submit(table, ["rewrite_data_files"]).body["job_id"]
        body = json.dumps({"version": 1, "job_id": job_id})
        emulator.client("sqs").send_message(QueueUrl=stack["DeadLetterQueueUrl"], MessageBody=body)
        assert invoke(emulator, stack["SweeperFunctionName"])["dead_letters"] == 1
        job = api.wait(job_id)
    assert job["status"] == "failed" and job["error"], job
    assert api.wait(api.submit(table, ["rewrite_data_files"]).body["job_id"])["status"] == "completed", "the table is free"


def test_a_new_version_is_deployed_while_a_job_runs(api, emulator, lake, stack, build):
    table = f"{DATABASE}.redeployed"
    append_twice(lake, table)
    rows = lake.rows(table)
    with invocations_of(emulator, stack["WorkerFunctionName"], INVOCATION_SECONDS):
        job_id = api.submit(table, ["rewrite_data_files"], options={"rewrite_data_files": {"min-input-files": 2}}).body["job_id"]
        api.wait(job_id, until=("running", "completed"))
        assert deploy(emulator, build, {**PARAMETERS, "LogLevel": "DEBUG"})["ApiUrl"] == stack["ApiUrl"]
        job = api.wait(job_id)
    assert job["status"] == "completed", job
    assert lake.rows(table) == rows
    deploy(emulator, build, PARAMETERS)


def test_a_deleted_stack_leaves_nothing_but_its_state(emulator, lake, tmp_path):
    outputs = deploy(emulator, tmp_path, {**PARAMETERS, "OrchestratorState": "DISABLED"}, stack="snowpack-short-lived")
    stacks = emulator.client("cloudformation")
    stacks.delete_stack(StackName="snowpack-short-lived")
    stacks.get_waiter("stack_delete_complete").wait(StackName="snowpack-short-lived", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    functions = {function["FunctionName"] for function in emulator.client("lambda").list_functions()["Functions"]}
    assert not functions & {value for name, value in outputs.items() if name.endswith("FunctionName")}
    queues = emulator.client("sqs").list_queues().get("QueueUrls", [])
    assert outputs["JobQueueUrl"] not in queues and outputs["DeadLetterQueueUrl"] not in queues
    assert outputs["StateTableName"] in emulator.client("dynamodb").list_tables()["TableNames"], "jobs and locks are kept"
