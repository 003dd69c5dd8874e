"""Small bundles to test on, made once each."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

from edge_tta.adapter import Adapter
from edge_tta.models import Model
from edge_tta.prepare import InputSpec
from export.bundle import Exported, export_bundle
from tests.adapters import adapter as adapter_of
from tests.networks import network

SPEC = InputSpec(size=8, scale=255.0, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def exported(folder: Path, case: str, net: str, **options: Any) -> tuple[Exported, Adapter]:
    """A bundle of a case of `tests.adapters` on a named network, and the adapter it is of."""
    like = adapter_of(case, net, input_spec=SPEC, **options)
    model = Model(net, network(net), SPEC)
    return export_bundle(model, [like, like.with_method("source")], "edge", folder), like


@functools.cache
def _kept() -> Path:
    folder = Path(tempfile.mkdtemp()) / "bundle"
    exported(folder, "nanoadapt:tent/edge", "residual")
    return folder


def copied(folder: Path) -> Path:
    """A copy of one bundle, to be damaged."""
    target = folder / "bundle"
    shutil.copytree(_kept(), target)
    return target


def fresh(method: str = "nanoadapt:tent") -> Adapter:
    """An adapter of that bundle, whose state is there before the first image."""
    adapter = Adapter(kept(), method)
    adapter.prepare((3, 8, 8))
    return adapter


def kept() -> Path:
    """That bundle itself, to be read only."""
    return _kept()
