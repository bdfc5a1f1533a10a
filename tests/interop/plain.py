"""Rows from Spark and from Arrow in one comparable form."""

import datetime
import uuid
from collections import Counter
from collections.abc import Iterable

from pyspark.sql import Row


def plain_rows(columns: list[str], rows: Iterable) -> Counter:
    """The rows as a multiset, whatever their order and that of the columns."""
    names = sorted(columns)
    return Counter(tuple(_plain(row[name]) for name in names) for row in rows)


def _plain(value) -> object:
    match value:
        case float():
            # Text, because NaN differs from itself and -0.0 does not from 0.0.
            return repr(value)
        case bytes() | bytearray():
            return bytes(value)
        case uuid.UUID():
            return str(value)
        case datetime.datetime():
            # Spark returns instants without a zone, in that of the process, which is UTC.
            return value.replace(tzinfo=None)
        case Row():
            return tuple(sorted((name, _plain(item)) for name, item in value.asDict().items()))
        case dict():
            return tuple(sorted((key, _plain(item)) for key, item in value.items()))
        case list():
            return ("list", *map(_plain, value))
    return value
