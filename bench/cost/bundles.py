"""Bundles of the methods to measure on onnxruntime, made for the time of the measurement."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bench.adapters import adapter_of, make_bundle
from bench.cost.case import Case, Work
from bench.cost.onnx_subjects import FOLDED
from edge_tta.config import make_config
from edge_tta.engines.modules import source_network
from edge_tta.models import Model
from edge_tta.prepare import Images
from export.folded import write_folded


@contextlib.contextmanager
def with_bundles(
    cases: Sequence[Case], model: Model, int8: Sequence[Images] | None = None
) -> Iterator[list[Case]]:
    """The cases, those on onnxruntime with the folder of their graphs, gone after the block.

    A bundle is not compared with PyTorch as `edge-tta export bundle` does it. int8: frames for
    those in int8, as of `export.bundle.write_bundle`.

    Raises:
        ModelError: the network cannot be captured or exported.
        ConfigError: a method needs what a bundle does not hold.
    """
    network = source_network(model.module, "cpu", model.task)
    with tempfile.TemporaryDirectory(prefix="edge-tta-bench-") as root:
        folders: dict[tuple[str, bool], Path] = {}
        for case in cases:
            key = case.asked, case.work.in_int8
            if case.backend != "onnx" or key in folders:
                continue
            folders[key] = folder = Path(root, str(len(folders)))
            if case.work is Work.FOLDED:
                # Before its first frame any method is the source network.
                folder.mkdir()
                adapter = adapter_of(network, make_config(), model.input)
                write_folded(adapter, model.input, folder / FOLDED)
            else:
                frames = int8 if case.work.in_int8 else None
                make_bundle(model, case.config, folder, network, frames)
        yield [
            replace(case, place=str(folders[case.asked, case.work.in_int8]))
            if case.backend == "onnx"
            else case
            for case in cases
        ]
