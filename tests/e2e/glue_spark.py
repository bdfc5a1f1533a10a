"""Spark on the emulated Glue catalog and S3: writes what PyIceberg cannot, and judges what the worker left."""

import os

from pyspark.sql import SparkSession

import places
from emulator import CREDENTIALS, REGION
from lake import BUCKET, DATABASE

CATALOG = "glue"


def start(emulator, scratch):
    """A session whose catalog `glue` is the emulated one."""
    # The AWS SDK in the JVM reads its credentials from here.
    os.environ.update(CREDENTIALS)
    jars = places.TEST_HOME / "jars"
    prefix = f"spark.sql.catalog.{CATALOG}"
    settings = {
        "spark.driver.memory": "1g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraClassPath": f"{jars}/*:{jars}/aws/*",
        "spark.driver.extraJavaOptions": "-Duser.timezone=UTC -XX:TieredStopAtLevel=1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.local.dir": scratch,
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        prefix: "org.apache.iceberg.spark.SparkCatalog",
        f"{prefix}.cache-enabled": "false",
        f"{prefix}.type": "glue",
        f"{prefix}.warehouse": f"s3://{BUCKET}/spark",
        f"{prefix}.glue.endpoint": emulator.endpoint,
        f"{prefix}.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        f"{prefix}.s3.endpoint": emulator.endpoint,
        f"{prefix}.s3.path-style-access": "true",
        f"{prefix}.client.region": REGION,
    }
    builder = SparkSession.builder.master("local[2]").appName("snowpack-e2e")
    for key, value in settings.items():
        builder = builder.config(key, str(value))
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def create_with_deletes(session, name, inserts=6):
    """A partitioned merge-on-read table with small files and position deletes; returns `database.table`."""
    table = f"{CATALOG}.{DATABASE}.{name}"
    session.sql(
        f"create table {table} (id bigint, region string, amount decimal(9,2)) using iceberg partitioned by (region) "
        "tblproperties ('format-version'='2', 'write.delete.mode'='merge-on-read', 'write.distribution-mode'='none')"
    )
    for number in range(inserts):
        rows = f"select id, if(id % 2 = 0, 'north', 'south'), id / 4 from range({number * 50}, {(number + 1) * 50})"
        session.sql(f"insert into {table} {rows}")
    session.sql(f"delete from {table} where id % 10 = 3")
    session.sql(f"delete from {table} where id between 20 and 60")
    return f"{DATABASE}.{name}"


def rows(session, table):
    """Every row of the current snapshot, in order."""
    return session.sql(f"select * from {CATALOG}.{table} order by id").collect()


def contents(session, table):
    """How many files of each content kind the current snapshot has: 0 data, 1 position deletes."""
    counted = session.sql(f"select content, count(*) as files from {CATALOG}.{table}.files group by content").collect()
    return {row["content"]: row["files"] for row in counted}
