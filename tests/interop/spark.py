"""The Spark session of a test process, and the settings of the catalogs it opens."""

import os
import sqlite3
from pathlib import Path

from pyspark.sql import SparkSession

from postgres import PASSWORD, Postgres

# Debian keeps the native half of the SQLite driver here.
JNI = "/usr/lib/x86_64-linux-gnu/jni:/usr/lib/aarch64-linux-gnu/jni:/usr/lib/jni"
# And Java's driver of PostgreSQL here.
POSTGRES_JAR = "/usr/share/java/postgresql.jar"
_SPARK_CATALOG = "org.apache.iceberg.spark.SparkCatalog"

# The tables of Java's JDBC catalog. Made here, because Java's own start-up check leaves a cursor open, and with it a
# read lock that keeps every other program from committing.
_TABLES_V0 = """
create table iceberg_tables(
    catalog_name varchar(255) not null, table_namespace varchar(255) not null, table_name varchar(255) not null,
    metadata_location varchar(1000), previous_metadata_location varchar(1000),
    primary key (catalog_name, table_namespace, table_name));
create table iceberg_namespace_properties(
    catalog_name varchar(255) not null, namespace varchar(255) not null, property_key varchar(255) not null,
    property_value varchar(1000), primary key (catalog_name, namespace, property_key));
"""
_V1_COLUMN = "alter table iceberg_tables add column iceberg_type varchar(5);"


def test_home() -> Path:
    """Where tests/setup put everything."""
    cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    return Path(os.environ.get("SNOWPACK_TEST_HOME", f"{cache}/snowpack-tests"))


def start(scratch: Path, memory: str = "3g") -> SparkSession:
    """A session on two cores whose clock is UTC and which talks to nothing but 127.0.0.1."""
    jars = test_home() / "jars"
    settings = {
        "spark.driver.memory": memory,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraClassPath": f"{jars}/*:{POSTGRES_JAR}",
        "spark.driver.extraJavaOptions": f"-Djava.library.path={JNI} -Duser.timezone=UTC -XX:TieredStopAtLevel=1 -XX:+UseParallelGC",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.local.dir": scratch / "spark",
        "spark.sql.warehouse.dir": scratch / "spark-warehouse",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        # Content digests hash whole rows, maps included.
        "spark.sql.legacy.allowHashOnMapType": "true",
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
    }
    builder = SparkSession.builder.master("local[2]").appName("snowpack-tests")
    for key, value in settings.items():
        builder = builder.config(key, str(value))
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def create_sqlite(path: Path, schema: str = "V1") -> None:
    """An empty catalog file as Java's JDBC catalog lays it out, in its first (V0) or present (V1) form."""
    with sqlite3.connect(path) as database:
        database.executescript(_TABLES_V0 + (_V1_COLUMN if schema == "V1" else ""))


def open_sqlite(session: SparkSession, name: str, path: Path, warehouse: str, schema: str = "V1") -> None:
    """Opens the catalog of that name in a SQLite file, under the same name in Spark, with one connection that holds no lock when idle."""
    _open(session, name, {
        "type": "jdbc", "uri": f"jdbc:sqlite:{path}", "warehouse": warehouse, "clients": "1",
        "jdbc.schema-version": schema, "jdbc.init-catalog-tables": "false",
    })


def open_postgres(session: SparkSession, name: str, server: Postgres, warehouse: str) -> None:
    """Opens the catalog of that name in a PostgreSQL database, in the tables that Java makes there."""
    _open(session, name, {
        "type": "jdbc", "uri": f"jdbc:postgresql://127.0.0.1:{server.port}/postgres", "warehouse": warehouse,
        "jdbc.user": "postgres", "jdbc.password": PASSWORD, "jdbc.schema-version": "V1",
    })


def open_rest(session: SparkSession, name: str, uri: str) -> None:
    """Opens a REST catalog in Spark."""
    _open(session, name, {"type": "rest", "uri": uri})


def _open(session: SparkSession, name: str, settings: dict[str, str]) -> None:
    prefix = f"spark.sql.catalog.{name}"
    session.conf.set(prefix, _SPARK_CATALOG)
    # What another program commits must show at once.
    for key, value in {"cache-enabled": "false", **settings}.items():
        session.conf.set(f"{prefix}.{key}", value)
