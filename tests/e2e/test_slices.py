"""A job that takes longer than an invocation may last goes on in the next one: fifteen minutes shrunk to seconds."""

import contextlib
import json

import pyarrow
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.transforms import IdentityTransform

from lake import DATABASE, SCHEMA

# The worker keeps 60 s of an invocation to commit what it has, so that this leaves it three seconds to work.
INVOCATION_SECONDS = 63
PARTITIONS = 400
BOTH = ["rewrite_data_files", "rewrite_manifests"]


@contextlib.contextmanager
def invocations_of(emulator, function, seconds):
    functions = emulator.client("lambda")
    before = functions.get_function_configuration(FunctionName=function)["Timeout"]
    functions.update_function_configuration(FunctionName=function, Timeout=seconds)
    try:
        yield
    finally:
        functions.update_function_configuration(FunctionName=function, Timeout=before)


def append_twice(lake, identifier):
    """A table of many partitions with two files in each."""
    by_id = PartitionSpec(PartitionField(source_id=1, field_id=1000, transform=IdentityTransform(), name="id"))
    table = lake.catalog.create_table(identifier, SCHEMA, partition_spec=by_id)
    columns = {"id": range(PARTITIONS), "region": ["north"] * PARTITIONS, "note": [None] * PARTITIONS}
    for _ in range(2):
        table.append(pyarrow.table({name: list(values) for name, values in columns.items()}, SCHEMA.as_arrow()))


def run_in_slices(api, emulator, stack, identifier, actions, options):
    """Runs the job in short invocations; returns it and the number of its slices."""
    with invocations_of(emulator, stack["WorkerFunctionName"], INVOCATION_SECONDS):
        job_id = api.submit(identifier, actions, options=options).body["job_id"]
        job = api.wait(job_id)
    assert (job["status"], job["attempt"]) == ("completed", 1), job
    assert [result["action"] for result in job["results"]] == actions
    key = {"pk": {"S": f"JOB#{job_id}"}, "sk": {"S": "JOB"}}
    item = emulator.client("dynamodb").get_item(TableName=stack["StateTableName"], Key=key)["Item"]
    return job, json.loads(item["document"]["S"])["slice"]


def test_a_long_job_goes_on_in_further_invocations(api, emulator, lake, stack):
    identifier = f"{DATABASE}.sliced"
    append_twice(lake, identifier)
    rows = lake.rows(identifier)
    _, slices = run_in_slices(api, emulator, stack, identifier, BOTH, {"rewrite_data_files": {"min-input-files": 2}})
    assert slices > 1
    assert lake.rows(identifier) == rows


def test_rewrite_all_takes_every_file_once_and_ends(api, emulator, lake, stack):
    """Every slice plans anew, and under this option a file of the right size is no reason to leave it."""
    identifier = f"{DATABASE}.sliced_whole"
    append_twice(lake, identifier)
    rows = lake.rows(identifier)
    options = {"rewrite_data_files": {"rewrite-all": True}}
    job, slices = run_in_slices(api, emulator, stack, identifier, ["rewrite_data_files"], options)
    assert slices > 1
    assert lake.rows(identifier) == rows
    snapshots = lake.catalog.load_table(identifier).metadata.snapshots
    made = [s.summary for s in snapshots if s.summary.get("snowpack.job-id") == job["job_id"]]
    assert sum(int(summary["deleted-data-files"]) for summary in made) == 2 * PARTITIONS
    assert sum(int(summary["added-data-files"]) for summary in made) == PARTITIONS
