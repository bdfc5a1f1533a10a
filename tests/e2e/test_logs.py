"""What a deployed function prints: one JSON line per event, and metrics that CloudWatch would read."""

import json

import pytest

import places
from deployment import STACK
from runtime_api import REQUEST_ID, lines_of

EVENTS = places.ROOT / "infra" / "events"


@pytest.fixture
def printed(emulator, stack):
    """The lines of a deployed function's binary, run with the settings that it was deployed with."""

    def run(output, package, event, **overrides):
        deployed = emulator.client("lambda").get_function_configuration(FunctionName=stack[output])
        environment = {**emulator.environment(), **deployed["Environment"]["Variables"], **overrides}
        lines = lines_of(places.binary(package), environment, (EVENTS / event).read_bytes())
        return [json.loads(line) for line in lines]

    return run


def test_the_sweeper_says_what_it_did_and_reports_it(printed):
    lines = printed("SweeperFunctionName", "snowpack-sweeper", "sweeper-schedule.json")
    [swept] = [line for line in lines if line.get("event") == "sweep_completed"]
    assert swept["request_id"] == REQUEST_ID
    assert {"timestamp", "level", "target", "sent", "given_up", "dead_letters", "freed"} <= set(swept)
    [metrics] = [line for line in lines if "_aws" in line]
    assert metrics["deployment"] == STACK and metrics["SweepsCompleted"] == 1
    well_formed(metrics)


def test_the_api_logs_requests_under_the_gateways_id(printed):
    lines = printed("ApiFunctionName", "snowpack-api", "api-metrics.json")
    [request] = [line for line in lines if line.get("event") == "http_request"]
    assert (request["request_id"], request["path"], request["status"]) == ("JKJaXmPLvHcESHA=", "/metrics", 200)


def test_metrics_do_not_depend_on_the_log_level_and_can_be_turned_off(printed):
    event = ("SweeperFunctionName", "snowpack-sweeper", "sweeper-schedule.json")
    [metrics] = printed(*event, SNOWPACK_LOG="error")
    assert metrics["SweepsCompleted"] == 1
    assert printed(*event, SNOWPACK_LOG="error", SNOWPACK_METRICS="off") == []


def well_formed(line):
    """By the JSON schema in the specification of the embedded metric format."""
    about = line["_aws"]
    assert isinstance(about["Timestamp"], int) and about["Timestamp"] > 0
    assert about["CloudWatchMetrics"]
    for directive in about["CloudWatchMetrics"]:
        assert directive["Namespace"] == "Snowpack"
        for dimensions in directive["Dimensions"]:
            assert 1 <= len(dimensions) <= 30
            assert all(isinstance(line[name], str) and line[name] for name in dimensions)
        for metric in directive["Metrics"]:
            assert metric["Unit"] in ("Count", "Seconds", "Bytes")
            assert isinstance(line[metric["Name"]], (int, float))
