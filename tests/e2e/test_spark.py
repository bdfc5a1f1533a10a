"""A table that Spark wrote with position deletes, maintained by the deployed worker, read again by Spark."""

import pytest

import glue_spark


@pytest.fixture(scope="module")
def spark(emulator, lake, tmp_path_factory):
    session = glue_spark.start(emulator, tmp_path_factory.mktemp("spark"))
    yield session
    session.stop()


def test_position_deletes_are_applied_and_spark_finds_every_row(api, spark):
    table = glue_spark.create_with_deletes(spark, "sales")
    rows, before = glue_spark.rows(spark, table), glue_spark.contents(spark, table)
    assert before[0] >= 12 and before[1] >= 2, before

    options = {"rewrite_data_files": {"rewrite-all": True}}
    job = api.wait(api.submit(table, ["rewrite_data_files"], options=options).body["job_id"])

    assert job["status"] == "completed", job
    assert job["results"][0]["metrics"]["rows_deleted"] > 0
    assert glue_spark.rows(spark, table) == rows
    assert glue_spark.contents(spark, table) == {0: 2}, "one data file for each partition, no deletes"
