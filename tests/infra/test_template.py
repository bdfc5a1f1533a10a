"""What must be true of the deployment, whatever else changes in its template."""

import json
import re

import pytest
import template
from template import ROOT

TEMPLATE = template.load()
RESOURCES = TEMPLATE["Resources"]
WRITES = re.compile(r"(Put|Update|Delete|Create|Send|Write|Abort|Change|Receive)")


def properties(name):
    return RESOURCES[name]["Properties"]


def of_type(kind):
    return {name: resource["Properties"] for name, resource in RESOURCES.items() if resource["Type"] == kind}


def listed(value):
    return value if isinstance(value, list) else [value]


def statements(role):
    """Every statement of a role, those behind a condition and those it shares with others included."""
    for policy in properties(role)["Policies"]:
        chosen = policy["Fn::If"][1] if "Fn::If" in policy else policy
        yield from chosen["PolicyDocument"]["Statement"]
    for managed in properties(role)["ManagedPolicyArns"]:
        yield from properties(managed["Fn::If"][1]["Ref"])["PolicyDocument"]["Statement"]


def actions(role, service):
    return {a for s in statements(role) for a in listed(s["Action"]) if a.startswith(f"{service}:")}


LISTS = {f"glue:Get{what}" for what in ("Catalog", "Database", "Databases", "Table", "Tables")}
ROLES = sorted(of_type("AWS::IAM::Role"))
FUNCTIONS = of_type("AWS::Serverless::Function")


def test_the_api_is_closed_unless_a_parameter_says_so_in_words():
    parameter = TEMPLATE["Parameters"]["ApiAuthorization"]
    assert parameter["Default"] == "iam"
    assert set(parameter["AllowedValues"]) == {"iam", "jwt", "open-to-everyone"}
    kind = {"Fn::If": ["UsesJwt", "JWT", {"Fn::If": ["OpenToEveryone", "NONE", "AWS_IAM"]}]}
    routes = {route["RouteKey"]: route["AuthorizationType"] for route in of_type("AWS::ApiGatewayV2::Route").values()}
    assert routes == {"ANY /{proxy+}": kind, "OPTIONS /{proxy+}": "NONE"}
    assert RESOURCES["ApiPreflightRoute"]["Condition"] == "HasCorsOrigins"
    assert TEMPLATE["Parameters"]["CorsOrigins"]["Default"] == ""


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
    assert RESOURCES["StateTable"]["DeletionPolicy"] == RESOURCES["StateTable"]["UpdateReplacePolicy"] == "Retain"
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


def test_logs_are_kept_for_a_time_and_then_deleted():
    assert all("RetentionInDays" in group for group in of_type("AWS::Logs::LogGroup").values())
    groups = {function["LoggingConfig"]["LogGroup"]["Ref"] for function in FUNCTIONS.values()}
    assert groups <= set(of_type("AWS::Logs::LogGroup"))


@pytest.mark.parametrize("role", ROLES)
def test_no_permission_is_wider_than_a_named_resource(role):
    for statement in statements(role):
        assert statement["Effect"] == "Allow"
        assert not any("*" in action for action in listed(statement["Action"]))
        if statement["Resource"] == "*":
            assert statement["Sid"] in ("SendTraces", "SeeInterfaces"), "these alone have no resources to name"
        elif any(WRITES.search(action) for action in listed(statement["Action"])):
            text = json.dumps(statement["Resource"])
            named = ("Fn::GetAtt", "DataBuckets", "GlueDatabases", "TableBucketName")
            in_subnets = re.search(r"\$\{AWS::AccountId\}:(network-interface|subnet|security-group)/\*", text)
            assert any(name in text for name in named) or in_subnets, text


def test_every_function_has_a_role_of_its_own():
    roles = {function["Role"]["Fn::GetAtt"][0] for function in FUNCTIONS.values()}
    assert sorted(roles) == ROLES


def test_the_api_reads_metadata_and_never_touches_tables():
    assert actions("ApiRole", "s3") == {"s3:GetObject"}
    [files] = [s for s in statements("ApiRole") if s["Action"] == "s3:GetObject"]
    assert "/*/metadata/*" in json.dumps(files["Resource"])
    assert actions("ApiRole", "glue") == {"glue:GetCatalog", "glue:GetDatabase", "glue:GetTable"}
    assert actions("ApiRole", "sqs") == {"sqs:SendMessage", "sqs:GetQueueAttributes"}


def test_the_worker_commits_tables_and_cannot_drop_them_or_change_settings():
    assert actions("WorkerRole", "glue") == LISTS | {"glue:UpdateTable"}
    for statement in statements("WorkerRole"):
        if "dynamodb:PutItem" in statement["Action"]:
            keys = statement["Condition"]["ForAnyValue:StringLikeIfExists"]["dynamodb:LeadingKeys"]
            assert keys == ["JOB#*", "TABLE#*", "DAYS"]
    assert "dynamodb:BatchWriteItem" not in actions("WorkerRole", "dynamodb")


def test_the_sweeper_runs_every_minute_and_touches_jobs_and_locks_only():
    event = properties("SweeperFunction")["Events"]["EveryMinute"]
    assert (event["Type"], event["Properties"]) == ("Schedule", {"Schedule": "rate(1 minute)"})
    assert properties("SweeperFunction")["Timeout"] <= 60
    assert not actions("SweeperRole", "s3") | actions("SweeperRole", "glue")
    [writes] = [s for s in statements("SweeperRole") if "dynamodb:PutItem" in s["Action"]]
    assert writes["Condition"]["ForAnyValue:StringLikeIfExists"]["dynamodb:LeadingKeys"] == ["JOB#*", "TABLE#*", "DAYS"]
    by_queue = {json.dumps(s["Resource"]): s["Action"] for s in statements("SweeperRole") if "sqs:" in json.dumps(s["Action"])}
    assert by_queue == {
        json.dumps({"Fn::GetAtt": ["JobQueue", "Arn"]}): "sqs:SendMessage",
        json.dumps({"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}): ["sqs:ReceiveMessage", "sqs:DeleteMessage"],
    }


def leading_keys(role):
    """The partitions of the state table that a role may write."""
    conditions = [s["Condition"] for s in statements(role) if "dynamodb:PutItem" in listed(s["Action"])]
    [condition] = conditions
    return condition["ForAnyValue:StringLikeIfExists"]["dynamodb:LeadingKeys"]


def test_sync_reads_tables_and_writes_what_is_known_of_them():
    event = properties("SyncFunction")["Events"]["Schedule"]
    assert event == {"Type": "Schedule", "Properties": {"Schedule": {"Ref": "SyncSchedule"}}}
    assert TEMPLATE["Parameters"]["SyncSchedule"]["Default"] == "rate(5 minutes)"
    assert properties("SyncFunction")["Timeout"] < 300, "one sync ends before the next begins"
    assert actions("SyncRole", "s3") == {"s3:GetObject", "s3:ListBucket"}
    assert actions("SyncRole", "glue") == LISTS
    assert not actions("SyncRole", "sqs")
    assert not any(key.startswith("JOB") for key in leading_keys("SyncRole"))


def test_the_orchestrator_submits_and_never_touches_tables():
    event = properties("OrchestratorFunction")["Events"]["Schedule"]
    assert event == {
        "Type": "Schedule",
        "Properties": {"Schedule": {"Ref": "OrchestratorSchedule"}, "State": {"Ref": "OrchestratorState"}},
    }
    assert TEMPLATE["Parameters"]["OrchestratorSchedule"]["Default"] == "rate(2 hours)"
    assert actions("OrchestratorRole", "s3") == {"s3:GetObject", "s3:ListBucket"}
    assert actions("OrchestratorRole", "glue") == {"glue:GetCatalog", "glue:GetDatabase", "glue:GetTable"}
    assert actions("OrchestratorRole", "sqs") == {"sqs:SendMessage"}
    assert "SETTINGS" not in leading_keys("OrchestratorRole")


@pytest.mark.parametrize("role", ["ApiRole", "SyncRole", "OrchestratorRole"])
def test_only_the_worker_can_read_data_files(role):
    [files] = [s for s in statements(role) if "s3:GetObject" in listed(s["Action"])]
    assert "/*/metadata/*" in json.dumps(files["Resource"])


def test_a_failing_or_silent_function_raises_an_alarm():
    alarms = of_type("AWS::CloudWatch::Alarm").values()
    watched = {(a["MetricName"], a["Dimensions"][0]["Value"].get("Ref")) for a in alarms if a["Namespace"] == "AWS/Lambda"}
    for function in FUNCTIONS:
        assert {("Errors", function), ("Throttles", function)} <= watched
    assert {"JobsFailed", "TableCacheAge"} <= {a["MetricName"] for a in alarms if a["Namespace"] == "Snowpack"}
    assert {"ApproximateAgeOfOldestMessage"} <= {a["MetricName"] for a in alarms if a["Namespace"] == "AWS/SQS"}
    [silent] = [a for a in alarms if a["MetricName"] == "Invocations"]
    assert (silent["Dimensions"][0]["Value"], silent["TreatMissingData"]) == ({"Ref": "SweeperFunction"}, "breaching")


def test_every_threshold_can_be_set_and_is_left_to_the_table_by_default():
    variables = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    for name in ("TargetFileSizeBytes", "MaxSnapshotAgeDays", "MinSnapshotsToKeep"):
        assert TEMPLATE["Parameters"][name]["Default"] == ""
        assert {"Ref": name} in variables.values()


def test_glue_is_reached_in_one_account_and_region_only():
    for role in ROLES:
        for statement in statements(role):
            if any(action.startswith("glue:") for action in listed(statement["Action"])):
                assert set(statement["Condition"]["StringEquals"]) == {"aws:ResourceAccount", "aws:RequestedRegion"}


def test_spark_is_one_application_with_one_role_and_off_by_default():
    assert TEMPLATE["Parameters"]["Engine"]["Default"] == "native"
    assert TEMPLATE["Parameters"]["SparkApplicationId"]["Default"] == ""
    # Previews and recommendations depend on it, so every function is told; the rest is the worker's alone.
    told = {name for name in TEMPLATE["Globals"]["Function"]["Environment"]["Variables"] if "SPARK" in name}
    assert told == {"SNOWPACK_SPARK_APPLICATION_ID"}
    assert "HasSpark" in {policy["Fn::If"][0] for policy in properties("WorkerRole")["Policies"] if "Fn::If" in policy}
    [lent] = [s for s in statements("WorkerRole") if s["Action"] == "iam:PassRole"]
    assert lent["Resource"]["Fn::Sub"].endswith(":role/${SparkExecutionRoleName}")
    assert lent["Condition"] == {"StringEquals": {"iam:PassedToService": "emr-serverless.amazonaws.com"}}
    assert actions("WorkerRole", "emr-serverless") == {f"emr-serverless:{a}JobRun" for a in ("Start", "Get", "Cancel")}
    for statement in statements("WorkerRole"):
        if "emr-serverless" in json.dumps(statement["Action"]):
            assert "/applications/${SparkApplicationId}" in json.dumps(statement["Resource"])
    assert not any(actions(role, "emr-serverless") or actions(role, "iam") for role in ROLES if role != "WorkerRole")


def test_every_parameter_is_described_and_grouped():
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    assert sorted(grouped) == sorted(TEMPLATE["Parameters"])
    assert all(parameter["Description"] for parameter in TEMPLATE["Parameters"].values())


def test_every_kind_of_catalog_can_be_deployed_and_only_the_worker_commits():
    assert TEMPLATE["Parameters"]["CatalogKind"]["AllowedValues"] == ["glue", "rest", "s3tables", "sql"]
    commits = {role: {a for a in actions(role, "s3tables") if WRITES.search(a)} for role in ROLES}
    assert commits.pop("WorkerRole") == {"s3tables:PutTableData", "s3tables:UpdateTableMetadataLocation"}
    assert not any(commits.values())
    for name in ("CatalogCredential", "CatalogToken"):
        assert TEMPLATE["Parameters"][name]["NoEcho"] is True
        assert json.dumps({"Ref": name}) in json.dumps(TEMPLATE["Globals"]["Function"]["Environment"]["Variables"])


def test_functions_join_subnets_only_if_told_to():
    condition, joined, _ = TEMPLATE["Globals"]["Function"]["VpcConfig"]["Fn::If"]
    assert (condition, joined) == ("HasSubnets", {"SubnetIds": {"Ref": "SubnetIds"}, "SecurityGroupIds": {"Ref": "SecurityGroupIds"}})
    for role in ROLES:
        assert {"Fn::If": ["HasSubnets", {"Ref": "JoinSubnets"}, {"Ref": "AWS::NoValue"}]} in properties(role)["ManagedPolicyArns"]
