"""torchvision's networks by name: classifiers, segmenters, and the detector with BatchNorms."""

from __future__ import annotations

import re
import urllib.error
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from edge_tta.errors import ModelError, did_you_mean, one_line
from edge_tta.models.fitting import fill, state_for
from edge_tta.models.weights import StateDict
from edge_tta.prepare import InputSpec
from edge_tta.probability import as_array, softmax
from edge_tta.tasks import ClassLogits, Decode

_DETECTORS = ("ssdlite320_mobilenet_v3_large",)
"""Those that have BatchNorm layers which keep statistics, and boxes without a second stage."""

# torchvision builds these with an auxiliary classifier and a normalisation of their own.
_AUXILIARY = {"googlenet": "aux1.", "inception_v3": "AuxLogits."}
_SECOND, _WITH_SECOND = "aux_classifier.", ("fcn_", "deeplabv3_")
_CLASS_HEAD, _ANCHORS = r"head\.classification_head\.module_list\.0\.1\.weight", 6
_CANDIDATES_FROM = 0.01


class Known(NamedTuple):
    """A network, and what `edge_tta.models.Model` says of it."""

    module: nn.Module
    input: InputSpec
    labels: tuple[str, ...] | None
    decode: Decode | None
    class_logits: ClassLogits | None
    task_name: str


def names() -> list[str]:
    """Return the names of the networks that there are; none without torchvision."""
    try:
        from torchvision.models import list_models, segmentation
    except ImportError:
        return []
    import torchvision

    listed: list[str] = list_models(module=torchvision.models) + list_models(module=segmentation)
    return [*listed, *_DETECTORS]


def load(name: str, weights: str | Path | None) -> Known:
    """Return a network with its published weights (None), or those of a file.

    Raises:
        ModelError: no such network, no weights for it, or no torchvision.
    """
    try:
        import torchvision
    except ImportError as error:
        raise ModelError(
            f"torchvision:{name} needs torchvision; install it: pip install torchvision"
        ) from error
    known = names()
    if name not in known:
        raise ModelError(f"torchvision has no network {name!r}{did_you_mean(name, known)}")
    entry = torchvision.models.get_model_weights(name).DEFAULT
    labels = tuple(entry.meta["categories"])
    if weights is None:
        try:
            module = torchvision.models.get_model(name, weights=entry)
        except (OSError, urllib.error.URLError, RuntimeError) as error:
            raise ModelError(
                f"the weights of torchvision:{name} cannot be downloaded ({one_line(error, 200)}); "
                "connect to the network, or give a file: --weights FILE"
            ) from error
        return _known(name, module, labels, entry.transforms())
    make = _maker(name)
    made = make()
    state = _in_order(_with_present_names(state_for(made, weights)), made)
    options = _options(name, state, len(labels))
    module = fill(make(**options), weights, state)
    published = "num_classes" not in options
    return _known(name, module, labels if published else None, entry.transforms())


def _known(name: str, module: nn.Module, labels: tuple[str, ...] | None, transforms: Any) -> Known:
    if name in _DETECTORS:
        detector = Ssd(module)
        return Known(
            *(detector, detector.input, labels),
            *(detector.decode, detector.class_logits, "detect"),
        )
    segments = hasattr(transforms, "resize_size") and not hasattr(transforms, "crop_size")
    size = transforms.resize_size if segments else transforms.crop_size
    spec = InputSpec(
        size=int(size[0]), scale=255.0, mean=tuple(transforms.mean), std=tuple(transforms.std)
    )
    return Known(module, spec, labels, None, None, "segment" if segments else "classify")


def _maker(name: str) -> Any:
    """Return what builds the network without weights, and without asking for any."""
    import torchvision

    fixed: dict[str, Any] = {"weights": None}
    if name not in torchvision.models.list_models(module=torchvision.models):
        fixed["weights_backbone"] = None
    if name in _AUXILIARY:
        fixed |= {"init_weights": False, "aux_logits": False}

    def make(**options: Any) -> nn.Module:
        module: nn.Module = torchvision.models.get_model(name, **{**fixed, **options})
        return module

    return make


def _options(name: str, state: StateDict, published: int) -> dict[str, Any]:
    """Return what the network of a file's weights is built with."""
    options: dict[str, Any] = {}
    classes = _classes_of(name, state)
    if classes not in (None, published):
        options["num_classes"] = classes
    if name in _AUXILIARY:
        # The published weights expect another normalisation, which the network applies itself.
        options["transform_input"] = "num_classes" not in options
        options["aux_logits"] = any(key.startswith(_AUXILIARY[name]) for key in state)
    if name.startswith(_WITH_SECOND) and any(key.startswith(_SECOND) for key in state):
        options["aux_loss"] = True
    return options


def _with_present_names(state: StateDict) -> StateDict:
    """Return a state dict with the names of today; DenseNet's published files have older ones."""
    old = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d\.)")
    return {old.sub(r"\1\2", key): value for key, value in state.items()}


def _in_order(state: StateDict, module: nn.Module) -> StateDict:
    """Return a state dict in the order of a module's: some formats sort by name."""
    order = {key: i for i, key in enumerate(module.state_dict())}
    return dict(sorted(state.items(), key=lambda item: order.get(item[0], len(order))))


def _classes_of(name: str, state: StateDict) -> int | None:
    """Return the number of classes that weights are for; None: they do not say."""
    if name in _DETECTORS:
        heads = [value for key, value in state.items() if re.match(_CLASS_HEAD, key)]
        return len(heads[0]) // _ANCHORS if heads else None
    last = [value for value in state.values() if value.ndim == 2]
    if not last:  # a segmenter's last layer is a convolution
        own = {key: value for key, value in state.items() if not key.startswith(_SECOND)}
        last = [value for value in own.values() if value.ndim == 4]
    return len(last[-1]) if last else None


class Ssd(nn.Module):
    """Backbone and heads of torchvision's SSD, whose boxes `decode` reads.

    Returns {"bbox_regression": (N, A, 4), "cls_logits": (N, A, classes)} for A anchors.
    """

    def __init__(self, detector: Any) -> None:
        from torchvision.models.detection.image_list import ImageList

        super().__init__()
        self.backbone, self.head = detector.backbone, detector.head
        transform = detector.transform
        (size,) = {int(side) for side in (*transform.min_size, transform.max_size)}
        self.input = InputSpec(
            size=size,
            scale=255.0,
            mean=tuple(transform.image_mean),
            std=tuple(transform.image_std),
        )
        image = next(detector.parameters()).new_zeros(1, 3, size, size)
        was_training = detector.training
        features = list(detector.eval().backbone(image).values())
        detector.train(was_training)
        (anchors,) = detector.anchor_generator(ImageList(image, [(size, size)]), features)
        corners = anchors.detach().numpy().astype(np.float32) / size
        self._sides = corners[:, 2:] - corners[:, :2]
        self._centres = (corners[:, :2] + corners[:, 2:]) / 2
        self._scales = np.array(detector.box_coder.weights, np.float32)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return what the heads say of every anchor.

        Raises:
            ValueError: images of another size, which have other anchors than `decode` knows.
        """
        size = self.input.size
        if tuple(images.shape[2:]) != (size, size):
            raise ValueError(f"its anchors are those of {size} x {size}")
        outputs: dict[str, Tensor] = self.head(list(self.backbone(images).values()))
        return outputs

    def decode(self, outputs: Any) -> Sequence[tuple[Any, Any, Any]]:
        """Return boxes, scores and classes of each image, as `edge_tta.tasks.Decode` says."""
        moved, logits = (as_array(outputs[k]) for k in ("bbox_regression", "cls_logits"))
        return [self._boxes(*both) for both in zip(moved, logits, strict=True)]

    def class_logits(self, outputs: Any) -> Tensor:
        """Return class logits (N * A, classes - 1) of the anchors; of the background they doubt."""
        logits: Tensor = outputs["cls_logits"]
        shows = 1 - logits.softmax(-1)[..., :1]
        return (logits[..., 1:] * shows).flatten(0, 1)

    def _boxes(self, moved: Any, logits: Any) -> tuple[Any, Any, Any]:
        """SSD's box coding (Liu et al., 2016): centres move by sides, sides grow by exp."""
        scores = softmax(logits)[:, 1:]  # class 0 is the background
        classes = scores.argmax(1)
        best = scores[np.arange(len(scores)), classes]
        kept = best > _CANDIDATES_FROM
        moved = moved[kept] / self._scales
        sides = self._sides[kept] * np.exp(np.minimum(moved[:, 2:], np.log(1000 / 16)))
        centres = self._centres[kept] + moved[:, :2] * self._sides[kept]
        boxes = np.concatenate([centres - sides / 2, centres + sides / 2], 1)
        return np.clip(boxes, 0, 1), best[kept], classes[kept] + 1
