"""What the deployment refuses: callers, requests, tables, messages."""

import time

import pytest

from lake import FOREIGN_DATABASE

REWRITE = ["rewrite_data_files"]
DEAD_LETTER_SECONDS = 90


def test_a_caller_without_a_signature_does_not_reach_the_function(api):
    assert api.request("GET", "/jobs", signed=False).status == 403


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/jobs/" + "0" * 32, 404, None),
        ("/jobs?limit=0", 400, None),
        ("/jobs?colour=blue", 400, None),
        ("/nowhere", 404, "not_found"),
        ("/jobs/history?table=nodot", 422, None),
    ],
)
def test_reads_are_refused_with_a_code_and_a_sentence(api, path, status, error):
    answer = api.get(path)
    assert answer.status == status, answer
    assert answer.body["message"] and answer.body["request_id"]
    assert error is None or answer.body["error"] == error


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"actions": []}, 400),
        ({"actions": ["defragment"]}, 400),
        ({"actions": REWRITE, "dryrun": True}, 400),
        (b"{", 400),
        (b'{"actions": ["rewrite_data_files"], "padding": "' + b"x" * 70_000 + b'"}', 413),
    ],
)
def test_submits_are_refused_before_anything_is_stored(api, lake, body, status):
    answer = api.request("POST", "/tables/shop/refused/maintenance", body)
    assert answer.status == status, answer
    assert api.get("/jobs?database=shop&table=refused").body == []


@pytest.mark.parametrize("name", ["shop/no%20spaces", "shop/..%2F..%2Fjobs", "-shop/orders"])
def test_names_are_checked_after_decoding(api, name):
    assert api.request("POST", f"/tables/{name}/maintenance", {"actions": REWRITE}).status in (404, 422)


def test_an_unknown_table_is_not_found(api):
    answer = api.submit("shop.missing", REWRITE)
    assert answer.status == 404, answer
    assert answer.body["message"] and answer.body["request_id"]


def test_a_table_outside_the_allowed_databases_is_out_of_reach(api, lake):
    table = lake.create("secrets", appends=5, database=FOREIGN_DATABASE)
    before = lake.snapshots(table)
    answer = api.submit(table, REWRITE)
    assert answer.status in (404, 503), answer
    assert lake.snapshots(table) == before


def test_a_message_that_names_no_job_ends_in_the_dead_letter_queue(emulator, stack):
    queues = emulator.client("sqs")
    queue, dead = stack["JobQueueUrl"], stack["DeadLetterQueueUrl"]
    usual = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["VisibilityTimeout"])["Attributes"]
    # Deliveries follow each other after the visibility timeout, sixteen minutes as deployed.
    queues.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "1"})
    try:
        queues.send_message(QueueUrl=queue, MessageBody="not a job")
        deadline = time.monotonic() + DEAD_LETTER_SECONDS
        bodies = []
        while not bodies and time.monotonic() < deadline:
            received = queues.receive_message(QueueUrl=dead, WaitTimeSeconds=2)
            bodies = [message["Body"] for message in received.get("Messages", [])]
    finally:
        queues.set_queue_attributes(QueueUrl=queue, Attributes=usual)
    assert bodies == ["not a job"]
