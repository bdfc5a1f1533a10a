"""Fixtures: one Spark session for the whole run, and the catalogs it shares with snowpack."""

import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest

# PyIceberg and Spark hand out naive timestamps in the process's zone.
os.environ["TZ"] = "UTC"
time.tzset()

import spark as spark_setup
from lake import Catalog
from postgres import PASSWORD, Postgres
from rest import RestServer


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("snowpack-interop")


@pytest.fixture(scope="session")
def session(scratch: Path):
    session = spark_setup.start(scratch)
    yield session
    session.stop()


def sqlite_catalog(session, scratch: Path, name: str, schema: str = "V1") -> Catalog:
    """A SQLite catalog in a folder of its own, opened by Spark and by snowpack's flags."""
    home = scratch / name
    warehouse = home / "warehouse"
    home.mkdir()
    database = home / "catalog.db"
    spark_setup.create_sqlite(database, schema)
    spark_setup.open_sqlite(session, name, database, f"file://{warehouse}", schema)
    flags = ["--catalog", "sql", "--catalog-uri", f"sqlite:///{database}", "--catalog-name", name]
    return Catalog(session, name, warehouse, [*flags, "--warehouse", f"file://{warehouse}"], database)


@pytest.fixture(scope="session")
def lake(session, scratch: Path) -> Catalog:
    """The catalog most tests use."""
    return sqlite_catalog(session, scratch, "lake")


@pytest.fixture(scope="session")
def sound_lake(session, scratch: Path) -> Catalog:
    """A catalog all of whose tables can be loaded."""
    return sqlite_catalog(session, scratch, "sound")


@pytest.fixture(scope="session")
def v0_catalog(session, scratch: Path) -> Catalog:
    """A catalog file in the form Java wrote before it knew views."""
    return sqlite_catalog(session, scratch, "v0", schema="V0")


@pytest.fixture(scope="session")
def postgres_server(scratch: Path):
    home = Path(tempfile.mkdtemp(prefix="snowpack-postgres-"))
    with Postgres(home) as server:
        yield server
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def postgres_catalog(session, scratch: Path, postgres_server: Postgres) -> Catalog:
    """A catalog that Java made in PostgreSQL; snowpack reaches it encrypted."""
    warehouse = scratch / "postgres" / "warehouse"
    spark_setup.open_postgres(session, "postgres", postgres_server, f"file://{warehouse}")
    uri = f"postgresql://postgres@localhost:{postgres_server.port}/postgres?sslmode=verify-full&sslrootcert={postgres_server.home}/server.crt"
    flags = ["--catalog", "sql", "--catalog-uri", uri, "--catalog-name", "postgres", "--catalog-credential", PASSWORD]
    return Catalog(session, "postgres", warehouse, flags)


@pytest.fixture(scope="session")
def rest_server(scratch: Path):
    with RestServer(scratch / "rest") as server:
        yield server


@pytest.fixture(scope="session")
def rest_catalog(session, rest_server: RestServer) -> Catalog:
    spark_setup.open_rest(session, "rest", rest_server.uri)
    return Catalog(session, "rest", rest_server.warehouse, ["--catalog", "rest", "--catalog-uri", rest_server.uri])
