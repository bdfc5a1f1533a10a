"""Writes data and delete files with Iceberg's Java API, for what Spark SQL never writes: equality deletes."""

import itertools
from collections.abc import Iterable, Mapping, Sequence

from lake import Table

_serial = itertools.count()


class JavaWriter:
    """Files of one table, in its current schema and spec. Integers must fit Java's int, which is what py4j makes of
    them; for a bigint column give values beyond that."""

    def __init__(self, table: Table) -> None:
        self._session = table.catalog.session
        self._jvm = self._session._jvm
        self.refresh(table)

    def refresh(self, table: Table) -> None:
        """Picks up what others committed, a changed schema included."""
        self.table = table.java()

    def data(self, rows: Iterable[Mapping], partition: Sequence = ()):
        """A data file of these rows."""
        factory = self._factory()
        writer = factory.newDataWriter(self._output("data"), self._parquet(), self._partition(partition))
        self._write(writer, self.table.schema(), rows)
        return writer.toDataFile()

    def equality_delete(self, columns: Sequence[str], keys: Iterable[Sequence], partition: Sequence = ()):
        """A file that deletes the rows whose `columns` equal one of `keys`."""
        schema = self.table.schema()
        ids = self._session._sc._gateway.new_array(self._jvm.int, len(columns))
        for index, column in enumerate(columns):
            ids[index] = schema.findField(column).fieldId()
        selected = schema.select(list(columns))
        factory = self._factory(ids, selected)
        writer = factory.newEqDeleteWriter(self._output("equality"), self._parquet(), self._partition(partition))
        self._write(writer, selected, (dict(zip(columns, key)) for key in keys))
        return writer.toDeleteFile()

    def position_delete(self, positions: Iterable[tuple[str, int]], partition: Sequence = ()):
        """A file that deletes rows by the path of their file and their position in it."""
        writer = self._factory().newPosDeleteWriter(self._output("position"), self._parquet(), self._partition(partition))
        delete = self._jvm.org.apache.iceberg.deletes.PositionDelete.create()
        for path, position in sorted(positions):
            writer.write(delete.set(path, position))
        writer.close()
        return writer.toDeleteFile()

    def commit(self, rows: Iterable = (), deletes: Iterable = ()) -> None:
        """Adds data and delete files in one snapshot, so that deletes do not touch rows that come with them."""
        delta = self.table.newRowDelta()
        for file in rows:
            delta.addRows(file)
        for file in deletes:
            delta.addDeletes(file)
        delta.commit()
        self.table.refresh()

    def _factory(self, ids=None, selected=None):
        appenders = self._jvm.org.apache.iceberg.data.GenericAppenderFactory
        return appenders(self.table.schema(), self.table.spec(), ids, selected, None)

    def _parquet(self):
        return self._jvm.org.apache.iceberg.FileFormat.PARQUET

    def _output(self, kind: str):
        path = f"{self.table.location()}/data/{kind}-{next(_serial):05}.parquet"
        encrypted = self._jvm.org.apache.iceberg.encryption.EncryptedFiles
        return encrypted.plainAsEncryptedOutput(self.table.io().newOutputFile(path))

    def _partition(self, values: Sequence):
        if not values:
            return None
        partition = self._jvm.org.apache.iceberg.PartitionData(self.table.spec().partitionType())
        for index, value in enumerate(values):
            partition.set(index, value)
        return partition

    def _write(self, writer, schema, rows: Iterable[Mapping]) -> None:
        record = self._jvm.org.apache.iceberg.data.GenericRecord.create(schema)
        for row in rows:
            for name, value in row.items():
                record.setField(name, value)
            writer.write(record)
        writer.close()
