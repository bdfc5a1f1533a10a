"""The dashboard and the alarms show what the functions report, and nothing that they do not."""

import json
import re

import template
from template import ROOT

RESOURCES = template.load()["Resources"]
ROW = re.compile(r"\| `(\w+)` \| [^|]+ \| (Count|Seconds|Bytes) \| ([^|]+) \| [^|]+ \| (stable|evolving) \|")


def of_type(kind):
    return {name: resource["Properties"] for name, resource in RESOURCES.items() if resource["Type"] == kind}


def documented():
    """Every metric's sets of dimensions; a Rust test holds the document to the code."""
    rows = ROW.findall((ROOT / "docs" / "observability.md").read_text())
    assert len(rows) > 30
    return {
        name: [frozenset(re.findall(r"`(\w+)`", dimensions)) for dimensions in sets.split(";")]
        for name, _, sets, _ in rows
    }


def widgets():
    [dashboard] = of_type("AWS::CloudWatch::Dashboard").values()
    return json.loads(dashboard["DashboardBody"]["Fn::Sub"])["widgets"]


def shown():
    """(namespace, name, dimensions) of every metric on the dashboard."""
    for widget in widgets():
        for metric in widget["properties"]["metrics"]:
            namespace, name, *rest = [part for part in metric if not isinstance(part, dict)]
            yield namespace, name, dict(zip(rest[::2], rest[1::2], strict=True))


def watched():
    """The same of every alarm."""
    for alarm in of_type("AWS::CloudWatch::Alarm").values():
        yield alarm["Namespace"], alarm["MetricName"], {d["Name"]: d["Value"] for d in alarm["Dimensions"]}


def test_the_dashboard_and_alarms_name_metrics_that_are_reported():
    known = documented()
    for namespace, name, dimensions in [*shown(), *watched()]:
        if namespace == "Snowpack":
            assert frozenset(dimensions) in known[name], name
            assert dimensions["deployment"] in ("${AWS::StackName}", {"Ref": "AWS::StackName"}), name
        else:
            assert namespace in ("AWS/Lambda", "AWS/SQS", "AWS/ApiGateway", "AWS/DynamoDB", "AWS/Events"), name


def test_the_dashboard_tells_what_an_operator_asks_first():
    names = {(namespace, name) for namespace, name, _ in shown()}
    for name in ["JobsFailed", "JobDuration", "ActionDuration", "QueueAge", "CommitConflicts", "BytesReclaimed", "TableCacheAge"]:
        assert ("Snowpack", name) in names
    queues = {dimensions["QueueName"] for namespace, _, dimensions in shown() if namespace == "AWS/SQS"}
    assert queues == {f"${{{queue}.QueueName}}" for queue in of_type("AWS::SQS::Queue")}
    for name in ["Errors", "Throttles", "Duration"]:
        functions = {d["FunctionName"] for namespace, shown_name, d in shown() if (namespace, shown_name) == ("AWS/Lambda", name)}
        assert functions == {f"${{{function}}}" for function in of_type("AWS::Serverless::Function")}


def test_the_dashboard_names_only_what_the_template_has():
    [dashboard] = of_type("AWS::CloudWatch::Dashboard").values()
    for reference in re.findall(r"\$\{([^}.]+)", dashboard["DashboardBody"]["Fn::Sub"]):
        assert reference in RESOURCES or reference.startswith("AWS::"), reference


def test_widgets_stand_side_by_side():
    taken = set()
    for widget in widgets():
        assert widget["type"] == "metric" and widget["properties"]["region"] == "${AWS::Region}"
        columns = range(widget["x"], widget["x"] + widget["width"])
        cells = {(x, y) for x in columns for y in range(widget["y"], widget["y"] + widget["height"])}
        assert max(columns) < 24 and not cells & taken, widget["properties"]["title"]
        taken |= cells


def test_lambda_drops_no_metric_with_the_log_lines():
    variables = template.load()["Globals"]["Function"]["Environment"]["Variables"]
    assert variables["SNOWPACK_DEPLOYMENT"] == {"Ref": "AWS::StackName"}
    for function in of_type("AWS::Serverless::Function").values():
        assert function["LoggingConfig"]["ApplicationLogLevel"] == "TRACE"
