"""Catalogs and tables as the tests hold them: one handle for Spark, the catalog file and the files on disk."""

import contextlib
import json
import os
import re
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession


def local_path(uri: str) -> Path:
    """The file behind file:/x, file:///x or /x, as Java and PyIceberg spell it in one and the same table."""
    return Path("/" + uri.removeprefix("file:").lstrip("/"))


@dataclass
class Catalog:
    """A catalog that Spark knows under `name`; `flags` open it in snowpack."""

    session: SparkSession
    name: str
    warehouse: Path
    flags: list[str]
    database: Path | None = None
    """The SQLite file, where there is one."""
    _made: set[str] = field(default_factory=set)

    def create(self, table: str, columns: str, partitioned: str = "", **properties: str) -> "Table":
        """Creates `namespace.table`. Spark is told not to sort rows by partition before a write, so that it leaves the
        many files tests need."""
        namespace = table.rpartition(".")[0]
        if namespace not in self._made:
            self.session.sql(f"create namespace if not exists {self.name}.{namespace}")
            self._made.add(namespace)
        settings = {
            "format-version": "2",
            "write.distribution-mode": "none",
            "write.delete.distribution-mode": "none",
            "write.spark.fanout.enabled": "true",
            **properties,
        }
        listed = ", ".join(f"'{key}'='{value}'" for key, value in settings.items())
        clause = f"partitioned by ({partitioned})" if partitioned else ""
        made = Table(self, table)
        made.sql(f"create table {{t}} ({columns}) using iceberg {clause} tblproperties ({listed})")
        return made


@dataclass
class Table:
    """One table of a catalog."""

    catalog: Catalog
    name: str
    """namespace.table"""

    @property
    def identifier(self) -> str:
        return f"{self.catalog.name}.{self.name}"

    def sql(self, statement: str) -> DataFrame:
        """Runs a statement in which {t} stands for this table, {name} for its name and {system} for the procedures."""
        system = f"{self.catalog.name}.system"
        return self.catalog.session.sql(
            statement.replace("{t}", self.identifier).replace("{name}", self.name).replace("{system}", system)
        )

    def insert(self, query: str, files: int = 1) -> None:
        """Appends the rows of a query in one commit, spread over that many files (per partition they fall in)."""
        self.sql(f"insert into {{t}} select /*+ repartition({files}) */ * from ({query})")

    def metadata_table(self, name: str, columns: str = "*") -> list:
        return self.sql(f"select {columns} from {{t}}.{name}").collect()

    def java(self):
        """The org.apache.iceberg.Table behind it, freshly loaded."""
        util = self.catalog.session._jvm.org.apache.iceberg.spark.Spark3Util
        return util.loadIcebergTable(self.catalog.session._jsparkSession, self.identifier)

    def metadata_location(self) -> str:
        return self.java().operations().current().metadataFileLocation()

    def metadata(self) -> dict:
        """The current metadata file."""
        return json.loads(local_path(self.metadata_location()).read_text())

    def folder(self) -> Path:
        return local_path(self.java().location())

    def files(self) -> dict[str, int]:
        """Sizes of the files in the table's folder by relative path, without Hadoop's hidden checksum files."""
        folder = self.folder()
        found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        return {str(path.relative_to(folder)): path.stat().st_size for path in found}

    def data_files(self) -> list[Path]:
        """The live data files, in a stable order."""
        return sorted(local_path(row.file_path) for row in self.metadata_table("data_files", "file_path"))

    def edit_metadata(self, change: Callable[[dict], None]) -> None:
        """Writes a next metadata file with a change applied and points the SQLite catalog at it."""
        location = self.metadata_location()
        metadata = json.loads(local_path(location).read_text())
        change(metadata)
        folder, _, name = location.rpartition("/")
        version = int(re.match(r"\d+", name).group()) + 1
        edited = f"{folder}/{version:05}-{uuid.uuid4()}.metadata.json"
        local_path(edited).write_text(json.dumps(metadata))
        self._point_at(edited)

    @contextlib.contextmanager
    def rewound(self) -> Iterator[None]:
        """Puts the table back as it was when the block ends: files are immutable, so hard links keep them."""
        folder, location = self.folder(), self.metadata_location()
        saved = folder.with_name(f"{folder.name}.{uuid.uuid4()}")
        shutil.copytree(folder, saved, copy_function=os.link)
        try:
            yield
        finally:
            shutil.rmtree(folder)
            saved.rename(folder)
            self._point_at(location)

    def _point_at(self, location: str) -> None:
        namespace, _, name = self.name.rpartition(".")
        with sqlite3.connect(self.catalog.database) as database:
            changed = database.execute(
                "update iceberg_tables set metadata_location = ? where table_namespace = ? and table_name = ?",
                (location, namespace, name),
            ).rowcount
        assert changed == 1, f"{self.name} is not in {self.catalog.database}"
