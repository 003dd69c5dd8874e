"""Methods on streams of labelled pictures, in their order, from the source for each corruption."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.adapters import adapter_of
from bench.corruptions import corrupt
from bench.dense.metrics import Masks, map50, recall
from bench.dense.sets import DenseSet
from bench.methods import predictor_of
from bench.sets import CLEAN
from edge_tta.adapter import Adapter
from edge_tta.config import MethodConfig
from edge_tta.engines.base import Backward
from edge_tta.errors import ConfigError
from edge_tta.network.source import SourceNetwork
from edge_tta.prepare import InputSpec, Pixels
from edge_tta.tasks import Detection, Segmentation, Task


def check_measured(task: Task) -> None:
    """Refuses a task whose outputs nobody can compare with labels.

    Raises:
        ConfigError: it is one.
    """
    if not task.filtered and not isinstance(task, (Segmentation, Detection)):
        raise ConfigError(
            f"task {task.name}: outputs that nobody explains have no error to measure; give --task "
            "classify, segment or detect, whichever they are"
        )


@dataclass(frozen=True)
class Corruption:
    """What is done to the pictures: nothing (`clean`, severity 0), or a corruption of 1 to 5."""

    name: str
    severity: int

    def of(self, picture: Pixels, index: int, seed: int) -> Pixels:
        """Return a picture with it, its lengths scaled from the published side to the picture's."""
        if self.name == CLEAN:
            return picture
        how: Any = {"first_index": index, "table": "imagenet", "to_scale": True}
        return corrupt(picture, self.name, self.severity, seed, **how)


@dataclass(frozen=True)
class Setting:
    """Corruptions of the pictures, in turn, their seed, and numbers in masks that are no label.

    saved: as of `edge_tta.Backward`.
    """

    corruptions: Sequence[Corruption]
    ignored: Sequence[int] = ()
    seed: int = 0
    saved: str = "stock"


def measure_dense(
    network: SourceNetwork,
    spec: InputSpec,
    data: DenseSet,
    methods: Mapping[str, MethodConfig],
    setting: Setting,
    *,
    model: str,
    advance: Callable[[], None] = lambda: None,
) -> Iterator[dict[str, Any]]:
    """Yield a row for each method and corruption, as they are measured.

    Args:
        advance: called at each frame.

    Raises:
        ConfigError: a method that trains, and a task without a loss.
    """
    for label, config in methods.items():
        for corruption in setting.corruptions:
            adapter = adapter_of(network, config, spec, Backward(setting.saved))
            scores = _scored(adapter, label, data, corruption, setting, advance)
            method = adapter.config
            yield {
                "method": method.method,
                "host": method.host if method.method == "nanoadapt" else None,
                "label": label,
                "model": model,
                "data": data.name,
                "corruption": corruption.name,
                "severity": corruption.severity,
                "batch_size": 1,
                "order": "natural",
                "seed": setting.seed,
                "n": len(data),
                **scores,
            }


def _scored(
    adapter: Adapter,
    label: str,
    data: DenseSet,
    corruption: Corruption,
    setting: Setting,
    advance: Callable[[], None],
) -> dict[str, float]:
    """Return the scores of one stream."""
    classes = adapter.prepare(adapter.input_spec.shape)
    task, truths = adapter.task, data.truths
    masks, detected = Masks(classes, setting.ignored), []
    predict, _ = predictor_of(adapter, label)
    kept = np.array([k for k in range(classes) if k not in setting.ignored], np.uint8)
    for index, picture in enumerate(data.pictures()):
        image = adapter.input_spec.prepare(corruption.of(picture, index, setting.seed))
        outputs = predict(image)
        if isinstance(task, Segmentation):
            truth: Any = truths[index]
            masks.add(kept[task.mask(outputs, kept)], truth)
        elif isinstance(task, Detection):
            detected.append(task.boxes(outputs))
        advance()
    if isinstance(task, Segmentation):
        return {"miou": masks.miou(), "error": masks.error()}
    boxes: Any = truths
    if data.targets_only:
        return {"recall": recall(detected, boxes)}
    return {"map50": map50(detected, boxes), "recall": recall(detected, boxes)}
