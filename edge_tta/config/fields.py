"""The fields of all tables by one name each, as the command line and Python take them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from edge_tta.config.tables import (
    CalibrationConfig,
    LayersConfig,
    LossConfig,
    MethodConfig,
    OptimizerConfig,
    ViewsConfig,
)

TABLES: dict[str, type[Any]] = {
    "calibration": CalibrationConfig,
    "loss": LossConfig,
    "optimizer": OptimizerConfig,
    "layers": LayersConfig,
    "views": ViewsConfig,
}
"""The record of each table, by its name."""


def _places() -> Iterator[tuple[str, tuple[str, str]]]:
    for table, record in TABLES.items():
        for field in dataclasses.fields(record):
            name = table if field.name in ("kind", "count") else field.name
            yield name, (table, field.name)


PLACES: dict[str, tuple[str, str]] = dict(_places())
"""(table, field) of each field, by the name that the command line takes."""


def from_fields(fields: Mapping[str, Any]) -> MethodConfig:
    """Return the configuration of method, host and fields by the names of PLACES.

    Fields that are left out have their defaults.

    Raises:
        ConfigError: a value out of range, or fields that contradict one another.
    """
    tables: dict[str, dict[str, Any]] = {table: {} for table in TABLES}
    given = dict(fields)
    method, host = given.pop("method"), given.pop("host")
    for name, value in given.items():
        table, field = PLACES[name]
        tables[table][field] = value
    records = {table: TABLES[table](**values) for table, values in tables.items()}
    return MethodConfig(method, host, **records)


def to_fields(config: MethodConfig) -> dict[str, Any]:
    """Return method, host and all fields by the names of PLACES; the inverse of `from_fields`."""
    fields = {
        name: getattr(getattr(config, table), field) for name, (table, field) in PLACES.items()
    }
    return {"method": config.method, "host": config.host, **fields}


def from_dict(values: Mapping[str, Any]) -> MethodConfig:
    """Return the configuration that `MethodConfig.as_dict` gave.

    Raises:
        KeyError, TypeError: it is of another version.
        ConfigError: a value out of range.
    """
    records = {table: record(**values[table]) for table, record in TABLES.items()}
    return MethodConfig(values["method"], values["host"], **records)
