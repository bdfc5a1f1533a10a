"""Tables with types and defaults that Spark SQL cannot declare, made and read with Iceberg's Java API."""

import uuid

from py4j.java_gateway import JavaObject

from java_writer import JavaWriter
from lake import Catalog, Table


def create(catalog: Catalog, name: str, schema: dict, version: int) -> Table:
    """Creates `namespace.table` with a schema given in its JSON form."""
    table = catalog.create(name, "placeholder int", **{"format-version": str(version)})
    set_schema(table, schema)
    return table


def set_schema(table: Table, schema: dict) -> None:
    """Makes a schema, with an id of its own, the current one, as if the table had been evolved to it."""

    def change(metadata: dict) -> None:
        schemas = metadata["schemas"]
        number = max(known["schema-id"] for known in schemas) + 1
        schemas.append({"type": "struct", "schema-id": number, **schema})
        metadata["current-schema-id"] = number
        metadata["last-column-id"] = max(metadata["last-column-id"], *field_ids(schema))

    table.edit_metadata(change)


def field(id: int, name: str, kind: object, required: bool = False) -> dict:
    return {"id": id, "name": name, "type": kind, "required": required}


def listed(id: int, element: object) -> dict:
    return {"type": "list", "element-id": id, "element": element, "element-required": False}


def mapped(key_id: int, key: object, value_id: int, value: object) -> dict:
    return {"type": "map", "key-id": key_id, "key": key, "value-id": value_id, "value": value, "value-required": False}


def field_ids(schema: object) -> list[int]:
    """Every field id in a schema's JSON form."""
    if isinstance(schema, list):
        return [id for item in schema for id in field_ids(item)]
    if not isinstance(schema, dict):
        return []
    own = [value for key, value in schema.items() if key in ("id", "element-id", "key-id", "value-id")]
    return own + [id for value in schema.values() for id in field_ids(value)]


def rows(table: Table) -> list[str]:
    """All rows as text, read by Java's generic reader, in a stable order."""
    scan = table.catalog.session._jvm.org.apache.iceberg.data.IcebergGenerics.read(table.java()).build()
    try:
        return sorted(_text(record) for record in _listed(table, scan))
    finally:
        scan.close()


def _listed(table: Table, iterable):
    """What Python can iterate over; a Java Iterable is not."""
    lists = table.catalog.session._jvm.org.apache.iceberg.relocated.com.google.common.collect.Lists
    return lists.newArrayList(iterable)


def _text(record) -> str:
    return " | ".join(_value(record.get(index)) for index in range(record.size()))


def _value(value: object) -> str:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, JavaObject):
        return value.toString()
    return repr(value) if isinstance(value, float) else str(value)


class Values:
    """Values as Java's generic writers take them."""

    def __init__(self, table: Table) -> None:
        self._jvm = table.catalog.session._jvm

    def uuid(self, number: int):
        return self._jvm.java.util.UUID.fromString(str(uuid.UUID(int=number)))

    def time(self, text: str):
        return self._jvm.java.time.LocalTime.parse(text)

    def timestamp(self, text: str):
        return self._jvm.java.time.LocalDateTime.parse(text)

    def instant(self, text: str):
        return self._jvm.java.time.OffsetDateTime.parse(text)

    def date(self, text: str):
        return self._jvm.java.time.LocalDate.parse(text)

    def decimal(self, text: str):
        return self._jvm.java.math.BigDecimal(text)

    def buffer(self, data: bytes):
        return self._jvm.java.nio.ByteBuffer.wrap(bytearray(data))

    def long(self, number: int):
        return self._jvm.java.lang.Long.valueOf(str(number))


def written_by_java(table: Table, rows: list[dict]) -> dict:
    """What Java's writer says of a file of these rows, which is not committed."""
    return metrics(table, JavaWriter(table).data(rows))


def metrics(table: Table, file) -> dict:
    """The statistics of a Java content file, as plain values."""
    buffers = table.catalog.session._jvm.org.apache.iceberg.util.ByteBuffers

    def numbers(values) -> dict[int, int]:
        return {} if values is None else {int(key): int(value) for key, value in values.items()}

    def bounds(values) -> dict[int, str]:
        return {} if values is None else {int(key): buffers.toByteArray(value).hex() for key, value in values.items()}

    return {
        "records": file.recordCount(),
        "sized": sorted(numbers(file.columnSizes())),
        "values": numbers(file.valueCounts()),
        "nulls": numbers(file.nullValueCounts()),
        "nans": numbers(file.nanValueCounts()),
        "lower": bounds(file.lowerBounds()),
        "upper": bounds(file.upperBounds()),
        "row groups": 0 if file.splitOffsets() is None else len(file.splitOffsets()),
        "first offset": None if not file.splitOffsets() else int(file.splitOffsets()[0]),
        "order": file.sortOrderId(),
    }


def live_metrics(table: Table) -> list[dict]:
    """The statistics of each live data file, as its manifest has them."""
    tasks = table.java().newScan().includeColumnStats().planFiles()
    try:
        return [metrics(table, task.file()) for task in _listed(table, tasks)]
    finally:
        tasks.close()
