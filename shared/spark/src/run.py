"""Runs one maintenance statement on Spark and leaves what it returned: the part of a hand-over that Spark itself does.

    run.py ORDER OUTPUT

ORDER is the location of a JSON document with the statement and with what the snapshots it makes shall say of themselves.
OUTPUT is where the rows of the statement's result go, as JSON; or the error, when there is one. Locations are those of
Hadoop's file systems, so the same script runs on S3 and on a local disk.
"""

import json
import sys

from pyspark.sql import SparkSession

FORMAT = 1
# Enough for the root cause, and far below what a job may say.
MOST_ERROR_CHARACTERS = 4000


class Files:
    """Whole small files in Hadoop's file systems."""

    def __init__(self, spark):
        self.jvm = spark._jvm
        self.configuration = spark._jsc.hadoopConfiguration()

    def _locate(self, location):
        path = self.jvm.org.apache.hadoop.fs.Path(location)
        return path, path.getFileSystem(self.configuration)

    def read(self, location):
        path, files = self._locate(location)
        stream = files.open(path)
        try:
            return self.jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8")
        finally:
            stream.close()

    def write(self, location, text):
        path, files = self._locate(location)
        stream = files.create(path, True)
        try:
            stream.write(bytearray(text.encode("utf-8")))
        finally:
            stream.close()


def run(spark, order):
    """The rows of the order's statement."""
    if order["format"] != FORMAT:
        raise ValueError(f"order of format {order['format']}, this script reads {FORMAT}")
    # Iceberg puts this into the summary of every snapshot the JVM commits.
    context = spark._jvm.org.apache.iceberg.EnvironmentContext
    for name, value in order["summary"].items():
        context.put(name, value)
    try:
        return [row.asDict(recursive=True) for row in spark.sql(order["statement"]).collect()]
    finally:
        for name in order["summary"]:
            context.remove(name)


def main(order_location, output_location):
    spark = SparkSession.builder.getOrCreate()
    files = Files(spark)
    try:
        rows = run(spark, json.loads(files.read(order_location)))
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"[:MOST_ERROR_CHARACTERS]
        files.write(output_location, json.dumps({"format": FORMAT, "error": cause}))
        raise
    files.write(output_location, json.dumps({"format": FORMAT, "rows": rows}))


if __name__ == "__main__":
    main(*sys.argv[1:])
