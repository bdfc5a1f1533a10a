"""What must be true of the deployment, whatever else changes in its template."""

import json
import re
import tomllib

import pytest
from template import PARAMETERS, RESOURCES, ROOT, TEMPLATE, of_type, properties

FUNCTIONS = of_type("AWS::Serverless::Function")


def test_a_message_is_not_delivered_again_while_its_worker_may_still_run():
    queue = properties("JobQueue")
    assert queue["VisibilityTimeout"] >= properties("WorkerFunction")["Timeout"] == 900
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 5
    assert queue["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}
    assert properties("DeadLetterQueue")["MessageRetentionPeriod"] >= queue["MessageRetentionPeriod"]


def test_the_worker_takes_one_message_and_reports_failures_one_by_one():
    event = properties("WorkerFunction")["Events"]["Jobs"]["Properties"]
    assert event["BatchSize"] == 1
    assert event["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert event["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "WorkerMaximumConcurrency"}}


def test_what_is_stored_is_encrypted_recoverable_and_outlives_the_stack():
    table = properties("StateTable")
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["SSESpecification"] == {"SSEEnabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    # A first deployment that fails leaves nothing behind; what was in use once is kept by every later operation.
    assert RESOURCES["StateTable"]["DeletionPolicy"] == "RetainExceptOnCreate"
    assert RESOURCES["StateTable"]["UpdateReplacePolicy"] == "Retain"
    assert all(queue["SqsManagedSseEnabled"] for queue in of_type("AWS::SQS::Queue").values())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_built_by_cargo_lambda_from_a_package_of_that_name(name):
    metadata = RESOURCES[name]["Metadata"]
    assert metadata["BuildMethod"] == "rust-cargolambda"
    binary = metadata["BuildProperties"]["Binary"]
    folder = ROOT / "functions" / binary.removeprefix("snowpack-")
    assert f'name = "{binary}"' in (folder / "Cargo.toml").read_text()
    assert list((ROOT / "infra" / "events").glob(f"{folder.name}-*.json")), "an event for sam local invoke"
    assert TEMPLATE["Globals"]["Function"]["Runtime"] == "provided.al2023"
    assert TEMPLATE["Globals"]["Function"]["Tracing"] == "Active"
    assert FUNCTIONS[name]["LoggingConfig"]["LogFormat"] == "JSON"


def test_functions_are_given_only_settings_they_document():
    documented = (ROOT / "docs" / "configuration.md").read_text()
    own = [function["Environment"]["Variables"] for function in FUNCTIONS.values() if "Environment" in function]
    for variable in {v for variables in [TEMPLATE["Globals"]["Function"]["Environment"]["Variables"], *own] for v in variables}:
        assert f"`{variable}`" in documented


# Variables that no parameter of the template sets, and why.
WITHOUT_A_PARAMETER = {
    "SNOWPACK_TABLE_NAME": "the stack's own table",
    "SNOWPACK_QUEUE_URL": "the stack's own queue",
    "SNOWPACK_DEAD_LETTER_QUEUE_URL": "the stack's own queue",
    "SNOWPACK_DEPLOYMENT": "the stack's name",
    "SNOWPACK_CRASH_AT": "for tests",
    "SNOWPACK_API": "for the command line, not for functions",
    "SNOWPACK_API_REGION": "for the command line, not for functions",
    "SNOWPACK_API_TOKEN": "for the command line, not for functions",
}


def references(value):
    """The names that a value of the template refers to."""
    text = json.dumps(value)
    return set(re.findall(r'"Ref": "(\w+)"', text)) | set(re.findall(r"\$\{(\w+)\}", text))


def test_every_setting_of_a_function_comes_from_a_parameter():
    rows = (ROOT / "docs" / "configuration.md").read_text().splitlines()
    documented = {row.split("`")[1] for row in rows if row.startswith("| `SNOWPACK_")}
    given = dict(TEMPLATE["Globals"]["Function"]["Environment"]["Variables"])
    for function in FUNCTIONS.values():
        given |= function.get("Environment", {}).get("Variables", {})
    set_by_parameters = {name for name, value in given.items() if references(value) & set(PARAMETERS)}
    assert documented - set_by_parameters == set(WITHOUT_A_PARAMETER)


def test_logs_are_kept_for_a_time_and_then_deleted():
    assert all("RetentionInDays" in group for group in of_type("AWS::Logs::LogGroup").values())
    groups = {function["LoggingConfig"]["LogGroup"]["Ref"] for function in FUNCTIONS.values()}
    assert groups <= set(of_type("AWS::Logs::LogGroup"))


def test_a_failing_or_silent_function_raises_an_alarm():
    alarms = of_type("AWS::CloudWatch::Alarm").values()
    watched = {(a["MetricName"], a["Dimensions"][0]["Value"].get("Ref")) for a in alarms if a["Namespace"] == "AWS/Lambda"}
    for function in FUNCTIONS:
        assert {("Errors", function), ("Throttles", function)} <= watched
    assert {"JobsFailed", "TableCacheAge"} <= {a["MetricName"] for a in alarms if a["Namespace"] == "Snowpack"}
    assert {"ApproximateAgeOfOldestMessage"} <= {a["MetricName"] for a in alarms if a["Namespace"] == "AWS/SQS"}
    [silent] = [a for a in alarms if a["MetricName"] == "Invocations"]
    assert (silent["Dimensions"][0]["Value"], silent["TreatMissingData"]) == ({"Ref": "SweeperFunction"}, "breaching")


def test_alarms_on_sync_fit_any_schedule():
    errors = properties("SyncErrorsAlarm")
    assert (errors["Threshold"], errors["ComparisonOperator"]) == (0, "GreaterThanThreshold"), "one failure is enough"
    stale = properties("TableCacheStaleAlarm")
    assert stale["Threshold"] == {"Ref": "TableCacheMaxAgeSeconds"}
    variables = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    assert variables["SNOWPACK_TABLE_CACHE_MAX_AGE_SECONDS"] == {"Ref": "TableCacheMaxAgeSeconds"}
    assert stale["TreatMissingData"] == {"Fn::If": ["ReportsMetrics", "breaching", "notBreaching"]}, "never synced"
    assert stale["Period"] * stale["EvaluationPeriods"] >= 900, "a new deployment has time for its first sync"
    assert TEMPLATE["Parameters"]["TableCacheMaxAgeSeconds"]["Default"] == 900


def test_every_threshold_can_be_set_and_is_left_to_the_table_by_default():
    variables = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    for name in ("TargetFileSizeBytes", "MaxSnapshotAgeDays", "MinSnapshotsToKeep"):
        assert PARAMETERS[name]["Default"] == ""
        assert {"Ref": name} in variables.values()


def test_every_parameter_is_described_and_grouped():
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    assert sorted(grouped) == sorted(PARAMETERS)
    assert all(parameter["Description"] for parameter in PARAMETERS.values())


def test_defaults_are_those_of_the_specification():
    defaults = {name: parameter["Default"] for name, parameter in PARAMETERS.items()}
    assert (defaults["Architecture"], TEMPLATE["Globals"]["Function"]["Architectures"]) == ("arm64", [{"Ref": "Architecture"}])
    assert (defaults["WorkerMemoryMegabytes"], properties("WorkerFunction")["MemorySize"]) == (4096, {"Ref": "WorkerMemoryMegabytes"})
    assert defaults["WorkerMaximumConcurrency"] == 5
    # New accounts have nothing to reserve.
    assert {value for name, value in defaults.items() if name.endswith("ReservedConcurrency")} == {-1}


def test_every_function_runs_on_its_schedule():
    events = {name: function["Events"] for name, function in FUNCTIONS.items() if "Events" in function}
    assert events.pop("WorkerFunction")["Jobs"]["Type"] == "SQS"
    assert events.pop("SweeperFunction") == {"EveryMinute": {"Type": "Schedule", "Properties": {"Schedule": "rate(1 minute)"}}}
    assert events.pop("SyncFunction") == {"Schedule": {"Type": "Schedule", "Properties": {"Schedule": {"Ref": "SyncSchedule"}}}}
    schedule = {"Schedule": {"Ref": "OrchestratorSchedule"}, "State": {"Ref": "OrchestratorState"}}
    assert events == {"OrchestratorFunction": {"Schedule": {"Type": "Schedule", "Properties": schedule}}}
    assert PARAMETERS["SyncSchedule"]["Default"] == "rate(5 minutes)"
    assert PARAMETERS["OrchestratorSchedule"]["Default"] == "rate(2 hours)"
    assert properties("SweeperFunction")["Timeout"] <= 60
    assert properties("SyncFunction")["Timeout"] < 300, "one sync ends before the next begins"


def test_functions_join_subnets_only_if_told_to():
    condition, joined, _ = TEMPLATE["Globals"]["Function"]["VpcConfig"]["Fn::If"]
    assert (condition, joined) == ("HasSubnets", {"SubnetIds": {"Ref": "SubnetIds"}, "SecurityGroupIds": {"Ref": "SecurityGroupIds"}})


def test_every_kind_of_catalog_can_be_deployed_and_its_secrets_are_not_shown():
    assert PARAMETERS["CatalogKind"]["AllowedValues"] == ["glue", "rest", "s3tables", "sql"]
    for name in ("CatalogCredential", "CatalogToken"):
        assert PARAMETERS[name]["NoEcho"] is True
        assert json.dumps({"Ref": name}) in json.dumps(TEMPLATE["Globals"]["Function"]["Environment"]["Variables"])


def test_a_table_bucket_is_the_warehouse_unless_another_is_named():
    condition, bucket, named = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]["SNOWPACK_WAREHOUSE"]["Fn::If"]
    assert bucket["Fn::Sub"].endswith(":bucket/${TableBucketName}") and named == {"Ref": "Warehouse"}
    assert TEMPLATE["Conditions"][condition]["Fn::And"] == [{"Condition": "UsesS3Tables"}, {"Fn::Equals": [{"Ref": "Warehouse"}, ""]}]


@pytest.mark.parametrize("name", ["", "b1x", "my.tables-2"])
def test_buckets_are_given_by_name(name):
    assert re.fullmatch(PARAMETERS["DataBuckets"]["AllowedPattern"], name)


@pytest.mark.parametrize("name", ["s3://tables", "*", "tables/", "arn:aws:s3:::tables", "a*", "Tables"])
def test_what_names_no_bucket_is_refused(name):
    assert not re.fullmatch(PARAMETERS["DataBuckets"]["AllowedPattern"], name)


def test_the_command_line_is_told_what_every_deployment_needs():
    deploy = tomllib.loads((ROOT / "samconfig.toml").read_text())["default"]["deploy"]["parameters"]
    assert deploy["capabilities"] == "CAPABILITY_IAM" and deploy["resolve_s3"] is True
    assert not any("RoleName" in role for role in of_type("AWS::IAM::Role").values()), "names need another capability"
    assert "parameter_overrides" not in deploy, "a deployment's values are kept by its stack"
