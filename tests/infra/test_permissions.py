"""What each function's role may do, and that it is no more than the function does."""

import json
import re

import pytest
from template import PARAMETERS, RESOURCES, TEMPLATE, listed, of_type, properties

CHANGES = re.compile(r":(Put|Update|Delete|BatchWrite)")
FUNCTIONS = of_type("AWS::Serverless::Function")
LISTS = {f"glue:Get{what}" for what in ("Catalog", "Database", "Databases", "Table", "Tables")}
ROLES = sorted(of_type("AWS::IAM::Role"))
READERS = ["ApiRole", "OrchestratorRole", "SyncRole"]
# Statements whose actions have no resources to name, and why.
WITHOUT_RESOURCES = {
    "SendTraces": "X-Ray has none",
    "SeeInterfaces": "EC2 has none for what only describes",
    "BeHandedAccess": "Lake Formation has none: its own grants say to what",
}
# Resources that name nothing of the deployment, and why.
UNNAMED = {
    "arn:*:glue:*:*:catalog": "every action on Glue's tables needs it; the account and region are conditions",
    "arn:${AWS::Partition}:ec2:${AWS::Region}:${AWS::AccountId}:*/*": "Lambda's guide asks for it to leave subnets",
    "arn:${AWS::Partition}:ec2:${AWS::Region}:${AWS::AccountId}:network-interface/*": "Lambda makes them",
    "arn:${AWS::Partition}:ec2:${AWS::Region}:${AWS::AccountId}:subnet/*": "the function's configuration names them",
    "arn:${AWS::Partition}:ec2:${AWS::Region}:${AWS::AccountId}:security-group/*": "the function's configuration names them",
}


def statements(role):
    """Every statement of a role, those behind a condition and those it shares with others included."""
    for policy in properties(role)["Policies"]:
        chosen = policy["Fn::If"][1] if "Fn::If" in policy else policy
        yield from chosen["PolicyDocument"]["Statement"]
    for managed in properties(role)["ManagedPolicyArns"]:
        yield from properties(managed["Fn::If"][1]["Ref"])["PolicyDocument"]["Statement"]


def actions(role, service):
    return {a for s in statements(role) for a in listed(s["Action"]) if a.startswith(f"{service}:")}


def statement(role, sid):
    [found] = [s for s in statements(role) if s["Sid"] == sid]
    return found


def resources(statement):
    """Each resource of a statement as text, in which `${Name}` is what it is made of."""
    for resource in listed(statement["Resource"]):
        if isinstance(resource, str):
            yield resource
        elif "Fn::Split" in resource:
            yield from joined(*resource["Fn::Split"][1]["Fn::Sub"])
        elif "Fn::Sub" in resource:
            yield resource["Fn::Sub"]
        else:
            yield "${" + listed(resource.get("Fn::GetAtt") or resource["Ref"])[0] + "}"


def joined(text, lists):
    """The resources of a list that is joined into a text and split again, one for each pattern in the text."""
    for pattern in text.split(","):
        for name in re.findall(r"\$\{(\w+)\}", pattern):
            separator, items = lists[name]["Fn::Join"]
            before, after = pattern.split("${" + name + "}")
            assert separator == f"{after},{before}", "each item of the list gets the same pattern"
            pattern = f"{before}${{{items['Ref']}}}{after}"
        yield pattern


def leading_keys(statement):
    [condition] = statement["Condition"].values()
    return condition["dynamodb:LeadingKeys"]


@pytest.mark.parametrize("role", ROLES)
def test_no_permission_is_wider_than_a_named_resource(role):
    for statement in statements(role):
        assert statement["Effect"] == "Allow"
        assert not any("*" in action for action in listed(statement["Action"]))
        for resource in resources(statement):
            if resource == "*":
                assert statement["Sid"] in WITHOUT_RESOURCES
            elif resource not in UNNAMED:
                names = {name.split(".")[0] for name in re.findall(r"\$\{([\w.]+)\}", resource)}
                assert names and names <= RESOURCES.keys() | PARAMETERS.keys(), resource


def test_every_function_has_a_role_of_its_own():
    roles = {function["Role"]["Fn::GetAtt"][0] for function in FUNCTIONS.values()}
    assert sorted(roles) == ROLES


STORE = {
    "ApiRole": "GetItem BatchGetItem Query PutItem UpdateItem DeleteItem BatchWriteItem ConditionCheckItem",
    "WorkerRole": "GetItem PutItem UpdateItem ConditionCheckItem",
    "SweeperRole": "GetItem Query PutItem UpdateItem",
    "SyncRole": "GetItem BatchGetItem Query PutItem DeleteItem BatchWriteItem",
    "OrchestratorRole": "GetItem BatchGetItem Query PutItem UpdateItem BatchWriteItem ConditionCheckItem",
}


@pytest.mark.parametrize("role", ROLES)
def test_the_store_is_used_as_the_function_uses_it(role):
    """The requests of `shared/aws/src/dynamo` that the function's use cases make."""
    assert actions(role, "dynamodb") == {f"dynamodb:{action}" for action in STORE[role].split()}


@pytest.mark.parametrize("role", [role for role in ROLES if role != "ApiRole"])
def test_what_is_written_to_the_store_is_named(role):
    """Only what may be part of a transaction, whose checks may count among the keys, is content with one key that fits."""
    for written in statements(role):
        changing = [a for a in listed(written["Action"]) if a.startswith("dynamodb:") and CHANGES.search(a)]
        if changing:
            [operator] = written["Condition"]
            is_transacted = changing == ["dynamodb:PutItem"] and role != "SyncRole"
            assert operator == ("ForAnyValue:StringLikeIfExists" if is_transacted else "ForAllValues:StringLike")


def test_each_role_writes_its_own_part_of_the_store():
    assert leading_keys(statement("WorkerRole", "WriteJobsAndTables")) == ["JOB#*", "TABLE#*"]
    assert leading_keys(statement("SweeperRole", "WriteJobsAndLocks")) == ["JOB#*", "TABLE#*"]
    for role in ("WorkerRole", "SweeperRole"):
        assert leading_keys(statement(role, "RegisterDays")) == ["DAYS"]
    assert leading_keys(statement("SyncRole", "WriteTablesAndSyncState")) == ["TABLE#*", "SETTINGS"]
    assert leading_keys(statement("OrchestratorRole", "WriteJobsTablesAndRuns")) == ["JOB#*", "TABLE#*", "RUNS", "RUN#*"]
    assert leading_keys(statement("OrchestratorRole", "CacheTablesAndRegisterDays")) == ["TABLE#*", "DAYS"]


def test_only_the_api_changes_the_drain_switch_and_only_the_sync_its_own_settings():
    for role in ("WorkerRole", "SweeperRole", "OrchestratorRole"):
        assert "SETTINGS" not in json.dumps(list(statements(role)))


def test_queues_are_used_as_the_function_uses_them():
    used = {role: {} for role in ROLES}
    for role in ROLES:
        for statement in statements(role):
            verbs = {a.removeprefix("sqs:") for a in listed(statement["Action"]) if a.startswith("sqs:")}
            if verbs:
                [queue] = resources(statement)
                used[role][queue] = verbs
    # What Lambda needs of the role to hand it messages.
    taken = {"ReceiveMessage", "DeleteMessage", "GetQueueAttributes"}
    assert used == {
        "ApiRole": {"${JobQueue}": {"SendMessage", "GetQueueAttributes"}},
        "WorkerRole": {"${JobQueue}": taken | {"SendMessage"}},
        "SweeperRole": {"${JobQueue}": {"SendMessage"}, "${DeadLetterQueue}": {"ReceiveMessage", "DeleteMessage"}},
        "SyncRole": {},
        "OrchestratorRole": {"${JobQueue}": {"SendMessage"}},
    }


def test_the_worker_alone_changes_tables_and_cannot_drop_them():
    assert actions("WorkerRole", "glue") == LISTS | {"glue:UpdateTable"}
    assert actions("WorkerRole", "s3") == {f"s3:{a}" for a in ("GetObject", "PutObject", "DeleteObject", "AbortMultipartUpload", "ListBucket")}
    for role in READERS:
        assert actions(role, "glue") <= LISTS
        assert actions(role, "s3") <= {"s3:GetObject", "s3:ListBucket"}
    assert not actions("SweeperRole", "s3") | actions("SweeperRole", "glue") | actions("SweeperRole", "s3tables")
    commits = {role: {a for a in actions(role, "s3tables") if CHANGES.search(a)} for role in ROLES}
    assert commits.pop("WorkerRole") == {"s3tables:PutTableData", "s3tables:UpdateTableMetadataLocation"}
    assert not any(commits.values())


def test_the_api_and_the_orchestrator_list_nothing():
    assert actions("ApiRole", "s3") == {"s3:GetObject"}
    for role in ("ApiRole", "OrchestratorRole"):
        assert actions(role, "glue") == {"glue:GetCatalog", "glue:GetDatabase", "glue:GetTable"}
    assert actions("SyncRole", "glue") == LISTS


@pytest.mark.parametrize("role", READERS)
def test_only_the_worker_can_read_data_files(role):
    [files] = [s for s in statements(role) if "s3:GetObject" in listed(s["Action"])]
    # A table may be a folder of its bucket, or the whole.
    assert list(resources(files)) == ["arn:*:s3:::${DataBuckets}/*/metadata/*", "arn:*:s3:::${DataBuckets}/metadata/*"]


def test_glue_is_reached_in_one_account_and_region_only():
    for role in ROLES:
        for statement in statements(role):
            if any(action.startswith("glue:") for action in listed(statement["Action"])):
                assert set(statement["Condition"]["StringEquals"]) == {"aws:ResourceAccount", "aws:RequestedRegion"}


def test_databases_grant_glue_only_to_kinds_of_catalogs_that_ask_it():
    kinds, named = TEMPLATE["Conditions"]["UsesGlue"]["Fn::And"]
    assert [kind["Fn::Equals"][1] for kind in kinds["Fn::Or"]] == ["glue", "rest"]
    assert "GlueDatabases" in json.dumps(named)
    for role in ROLES:
        for policy in properties(role)["Policies"]:
            if "glue:" in json.dumps(policy):
                assert policy["Fn::If"][0] == "UsesGlue"


def attached(policy):
    """The roles that have a shared policy, and the condition of it."""
    conditions = {RESOURCES[policy]["Condition"]}
    roles = set()
    for role in ROLES:
        for managed in properties(role)["ManagedPolicyArns"]:
            condition, chosen, _ = managed["Fn::If"]
            if chosen == {"Ref": policy}:
                roles.add(role)
                conditions.add(condition)
    [condition] = conditions
    return roles, condition


def test_shared_policies_are_attached_where_they_are_needed():
    everyone, catalog = set(ROLES), set(ROLES) - {"SweeperRole"}
    assert attached("JoinSubnets") == (everyone, "HasSubnets")
    assert attached("ReadTableBucket") == (catalog - {"WorkerRole"}, "UsesS3Tables")
    assert attached("MaintainTableBucket") == ({"WorkerRole"}, "UsesS3Tables")
    assert attached("ReadCatalogApi") == (catalog, "UsesCatalogApi")
    assert attached("CommitToCatalogApi") == ({"WorkerRole"}, "UsesCatalogApi")
    assert attached("UseLakeFormation") == (catalog, "UsesLakeFormation")
    assert PARAMETERS["LakeFormation"]["Default"] == "false"


def test_a_catalog_behind_api_gateway_is_read_by_all_and_changed_by_the_worker():
    assert list(resources(statement("SyncRole", "AskCatalog"))) == [f"${{CatalogApiArn}}/*/{method}/*" for method in ("GET", "HEAD")]
    assert list(resources(statement("WorkerRole", "CommitTables"))) == ["${CatalogApiArn}/*/POST/*"]


def test_a_table_bucket_can_be_used_through_either_of_its_interfaces():
    kinds, named = TEMPLATE["Conditions"]["UsesS3Tables"]["Fn::And"]
    assert [kind["Fn::Equals"][1] for kind in kinds["Fn::Or"]] == ["s3tables", "rest"]
    assert "TableBucketName" in json.dumps(named)
    needed = {"GetTableBucket", "ListNamespaces", "GetNamespace", "ListTables", "GetTable", "GetTableMetadataLocation", "GetTableData"}
    for role in READERS:
        assert actions(role, "s3tables") == {f"s3tables:{action}" for action in needed}


def test_functions_can_leave_subnets_again():
    managed = statement("SyncRole", "ManageInterfaces")
    assert set(managed["Action"]) == {f"ec2:{a}" for a in ("DeleteNetworkInterface", "AssignPrivateIpAddresses", "UnassignPrivateIpAddresses")}
    assert list(resources(managed)) == ["arn:${AWS::Partition}:ec2:${AWS::Region}:${AWS::AccountId}:*/*"]


def test_spark_is_one_application_with_one_role_and_off_by_default():
    assert PARAMETERS["Engine"]["Default"] == "native"
    assert PARAMETERS["SparkApplicationId"]["Default"] == ""
    # Previews and recommendations depend on it, so every function is told; the rest is the worker's alone.
    told = {name for name in TEMPLATE["Globals"]["Function"]["Environment"]["Variables"] if "SPARK" in name}
    assert told == {"SNOWPACK_SPARK_APPLICATION_ID"}
    assert "HasSpark" in {policy["Fn::If"][0] for policy in properties("WorkerRole")["Policies"] if "Fn::If" in policy}
    lent = statement("WorkerRole", "LendRunsTheirRole")
    assert lent["Action"] == "iam:PassRole" and lent["Resource"]["Fn::Sub"].endswith(":role/${SparkExecutionRoleName}")
    assert lent["Condition"] == {"StringEquals": {"iam:PassedToService": "emr-serverless.amazonaws.com"}}
    assert actions("WorkerRole", "emr-serverless") == {f"emr-serverless:{a}JobRun" for a in ("Start", "Get", "Cancel")}
    for started in ("StartRuns", "FollowAndStopRuns"):
        assert all("/applications/${SparkApplicationId}" in resource for resource in resources(statement("WorkerRole", started)))
    assert not any(actions(role, "emr-serverless") or actions(role, "iam") for role in ROLES if role != "WorkerRole")
