"""The fields of a configuration by one name each."""

from __future__ import annotations

from typing import Any

from edge_tta.config import MethodConfig
from edge_tta.config.tables import PLACES


def flat(config: MethodConfig) -> dict[str, Any]:
    """All fields, as `from_fields` takes them."""
    return {name: getattr(getattr(config, table), field) for name, (table, field) in PLACES.items()}
