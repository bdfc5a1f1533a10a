"""The sample events of `infra/events`, given to the deployed functions as `sam local invoke` would."""

import json

import pytest

import places

EVENTS = places.ROOT / "infra" / "events"
# Their table and job do not exist here, so what they ask for is understood and not found.
NOT_FOUND = {"api-submit", "api-dry-run", "api-poll", "api-cancel"}


@pytest.mark.parametrize("path", sorted(EVENTS.glob("api-*.json")), ids=lambda path: path.stem)
def test_the_api_understands(emulator, stack, path):
    response = invoke(emulator, stack["ApiFunctionName"], path)
    assert response["statusCode"] == (404 if path.stem in NOT_FOUND else 200), response


def test_the_worker_acknowledges_a_job_that_does_not_exist(emulator, stack):
    assert invoke(emulator, stack["WorkerFunctionName"], EVENTS / "worker-job.json") == {"batchItemFailures": []}


def test_the_sweeper_finds_nothing_to_do(emulator, stack):
    report = invoke(emulator, stack["SweeperFunctionName"], EVENTS / "sweeper-schedule.json")
    assert report == {"sent": 0, "given_up": 0, "dead_letters": 0, "freed": 0}


def test_sync_and_orchestrator_understand_their_schedules(emulator, stack):
    synced = invoke(emulator, stack["SyncFunctionName"], EVENTS / "sync-schedule.json")
    assert synced["tables"] >= 0
    for event in ("orchestrator-schedule", "orchestrator-dry-run"):
        run = invoke(emulator, stack["OrchestratorFunctionName"], EVENTS / f"{event}.json")
        assert run["status"] == "completed", run


def invoke(emulator, function, path):
    answer = emulator.client("lambda").invoke(FunctionName=function, Payload=path.read_bytes())
    assert "FunctionError" not in answer, answer["Payload"].read()
    return json.loads(answer["Payload"].read())
