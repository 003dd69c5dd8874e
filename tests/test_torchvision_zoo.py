"""torchvision's segmenters and detector, by name, with weights of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edge_tta.adapter import Adapter
from edge_tta.errors import ModelError
from edge_tta.models import load_model, torchvision_zoo
from edge_tta.tasks.detection import Detection

models = pytest.importorskip("torchvision.models", reason="needs torchvision")
DETECTOR = "ssdlite320_mobilenet_v3_large"


def _weights(name: str, folder: Path, **options: Any) -> Path:
    """A file of random weights."""
    torch.manual_seed(0)
    made = models.get_model(name, weights=None, weights_backbone=None, **options)
    torch.save(made.state_dict(), folder / "net.pt")
    return folder / "net.pt"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lraspp_mobilenet_v3_large", {"num_classes": 5}),
        ("deeplabv3_mobilenet_v3_large", {"aux_loss": True}),
    ],
    ids=str,
)
def test_a_segmenter_is_adapted_whole(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    model = load_model(f"torchvision:{name}", _weights(name, tmp_path, **options))
    classes = options.get("num_classes", 21)
    assert (model.labels is None) == (classes != 21)
    assert (model.task_name, model.input.size) == ("segment", 520)
    adapter = Adapter(model.module, task=model.task_name)
    outputs = adapter(torch.rand(1, 3, 64, 96))
    assert outputs["out"].shape == (1, classes, 64, 96)
    assert ("aux" in outputs) == ("aux_loss" in options)
    assert adapter.steps == 1


@pytest.mark.parametrize("name", ["squeezenet1_1", "convnext_tiny", "lraspp_mobilenet_v3_large"])
def test_weights_that_lie_in_another_order_are_of_the_same_classes(name: str) -> None:
    with torch.device("meta"):
        made = torchvision_zoo._maker(name)()
    state = torchvision_zoo._in_order(dict(sorted(made.state_dict().items())), made)
    assert torchvision_zoo._classes_of(name, state) in (1000, 21)


def test_the_detector_gives_the_boxes_that_torchvision_gives_and_calibrates(tmp_path: Path) -> None:
    classes = 7
    path = _weights(DETECTOR, tmp_path, num_classes=classes)
    model = load_model(f"torchvision:{DETECTOR}", path)
    assert model.labels is None
    detector = models.get_model(
        DETECTOR,
        weights=None,
        weights_backbone=None,
        num_classes=classes,
        nms_thresh=1.0,
        topk_candidates=4000,
        detections_per_img=10**6,
    )
    detector.load_state_dict(torch.load(path))
    picture = torch.rand(3, 320, 320)
    with torch.no_grad():
        (wanted,) = detector.eval()([picture])
    adapter = Adapter(model.module, task=Detection(model.decode))
    image = (picture[None] - 0.5) / 0.5
    outputs = adapter.predict_source(image)
    assert model.decode is not None
    ((boxes, scores, numbers),) = model.decode(outputs)
    # torchvision lists an anchor once for each class; ours stands in its best class alone.
    listed = [wanted[name].numpy() for name in ("boxes", "scores", "labels")]
    for i in np.argsort(-scores)[:20]:
        same = np.abs(listed[0] / 320 - boxes[i]).max(1) < 1e-4
        same &= (np.abs(listed[1] - scores[i]) < 1e-5) & (listed[2] == numbers[i])
        assert same.any()
    for _ in range(2):
        after = adapter(image * 0.3)
    assert adapter.config.label == "nanoadapt:norm"
    assert not torch.equal(after["cls_logits"], adapter.predict_source(image * 0.3)["cls_logits"])


def test_the_detector_refuses_images_that_have_other_anchors(tmp_path: Path) -> None:
    model = load_model(f"torchvision:{DETECTOR}", _weights(DETECTOR, tmp_path, num_classes=3))
    adapter = Adapter(model.module, task=Detection(model.decode))
    with pytest.raises(
        ModelError, match=r"anchors are those of 320 x 320; it takes images of 320 x 320, not"
    ) as refused:
        adapter.prepare((3, 352, 640))
    assert str(refused.value).endswith("set --size 320")


def test_detectors_without_such_layers_are_not_offered() -> None:
    with pytest.raises(ModelError, match="torchvision has no network 'fasterrcnn_resnet50_fpn'"):
        load_model("torchvision:fasterrcnn_resnet50_fpn")


def test_anchors_that_show_nothing_doubt_their_class(tmp_path: Path) -> None:
    model = load_model(f"torchvision:{DETECTOR}", _weights(DETECTOR, tmp_path, num_classes=4))
    assert model.class_logits is not None
    outputs = {"cls_logits": torch.tensor([[[9.0, 1.0, 3.0, 0.0], [-9.0, 1.0, 3.0, 0.0]]])}
    nothing, something = model.class_logits(outputs).softmax(1)
    torch.testing.assert_close(nothing, torch.full((3,), 1 / 3), atol=1e-2, rtol=0)
    torch.testing.assert_close(something, torch.tensor([1.0, 3.0, 0.0]).softmax(0))
    assert model.with_task(None).task.learns  # type: ignore[union-attr]
