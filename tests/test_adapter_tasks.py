"""Networks that are no classifiers: what holds for any of them, through the adapter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edge_tta import nest
from edge_tta.adapter import Adapter
from edge_tta.errors import ConfigError, ModelError
from edge_tta.guard import Guard
from edge_tta.tasks import Detection, Segmentation
from tests.networks import with_statistics

SIZE = (3, 16, 24)


class Dense(nn.Module):
    """Two BatchNorms, a stride, a transposed convolution; what it returns is a test's choice."""

    def __init__(self, answer: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 5, 2, 2, bias=False)
        self.answer = answer

    def forward(self, x: Tensor) -> Any:
        low = torch.relu(self.bn1(self.conv1(x)))
        high = torch.relu(self.bn2(self.conv2(low)))
        return self.answer(self.up(high), high)


ANSWERS: dict[str, tuple[str | None, Callable[[Tensor, Tensor], Any]]] = {
    "segment": (None, lambda up, high: up),
    "segment by name": (None, lambda up, high: {"out": up, "aux": high}),
    "detect": ("detect", lambda up, high: up),
    "features": (None, lambda up, high: (high.flatten(2), [high.mean((2, 3))])),
}
every_task = pytest.mark.parametrize("name", ANSWERS)


def _network(name: str) -> nn.Module:
    return with_statistics(Dense(ANSWERS[name][1]))


def _adapter(name: str, method: str = "nanoadapt") -> Adapter:
    return Adapter(_network(name), method, task=ANSWERS[name][0])


def _stream(count: int, scale: float = 3.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn((1, *SIZE), generator=generator) * scale + 1 for _ in range(count)]


@every_task
def test_outputs_are_the_networks_own_in_form_and_value(name: str) -> None:
    adapter, model = _adapter(name, "source"), _network(name)
    for images in _stream(2):
        with torch.no_grad():
            expected = model(images)
        outputs = adapter(images)
        assert nest.form_of(outputs) == nest.form_of(expected)
        for own, wanted in zip(nest.leaves(outputs), nest.leaves(expected), strict=True):
            torch.testing.assert_close(own, wanted, rtol=1e-4, atol=1e-4)
    assert adapter.task is not None
    assert adapter.task.name == name.split()[0]


@every_task
def test_a_disturbance_that_stays_is_calibrated_and_a_reset_forgets_it(name: str) -> None:
    adapter = _adapter(name)
    images = _stream(4)
    for image in images:
        adapter(image)
    adapted, source = adapter.predict(images[0]), adapter.predict_source(images[0])
    pairs = zip(nest.leaves(adapted), nest.leaves(source), strict=True)
    assert any(not torch.allclose(own, other) for own, other in pairs)
    adapter.reset()
    for own, other in zip(
        nest.leaves(adapter.predict(images[0])), nest.leaves(source), strict=True
    ):
        torch.testing.assert_close(own, other)


@every_task
def test_a_saved_state_goes_on_exactly_also_in_an_adapter_that_has_seen_nothing(
    name: str, tmp_path: Path
) -> None:
    adapter, images = _adapter(name), _stream(6)
    for image in images[:4]:
        adapter(image)
    adapter.save(tmp_path / "state.safetensors")
    other = _adapter(name)
    other.load(tmp_path / "state.safetensors")
    for image in images[4:]:
        for own, wanted in zip(nest.leaves(other(image)), nest.leaves(adapter(image)), strict=True):
            assert torch.equal(own, wanted)


@every_task
def test_only_votes_are_learned_from_and_only_when_asked(name: str) -> None:
    learns = name.startswith("segment")
    for method in ("nanoadapt", "nanoadapt:tent"):
        adapter = _adapter(name, method)
        for image in _stream(2):
            adapter(image)
        trains = learns and method == "nanoadapt:tent"
        assert adapter.config.label == ("nanoadapt:tent" if trains else "nanoadapt:norm")
        assert ("opt.parameters" in adapter.state) == trains
    if not learns:
        with pytest.raises(ConfigError, match="tent trains by a loss on classes"):
            _adapter(name, "tent").prepare(SIZE)


@pytest.mark.parametrize(
    ("method", "told"), [("nanoadapt", False), ("nanoadapt:norm", False), ("nanoadapt:tent", True)]
)
def test_a_host_that_has_no_loss_to_train_by_is_told(
    method: str, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    adapter = _adapter("detect", method)
    adapter.prepare(SIZE)
    assert adapter.config.host == "norm"
    assert ("nanoadapt:tent only calibrates" in caplog.text) == told


def test_a_detector_learns_from_its_class_logits_and_the_entropy_of_these_falls() -> None:
    def class_logits(outputs: Tensor) -> Tensor:
        flat = outputs.flatten(2)
        surest = flat.amax(1).topk(4, 1).indices
        return flat.gather(2, surest[:, None].expand(-1, flat.shape[1], -1)).mT.flatten(0, 1)

    task = Detection(class_logits=class_logits)
    fields = {"reliable_below": 0.0, "accumulation": 1, "learning_rate": 0.01}
    learning = Adapter(_network("detect"), "nanoadapt:tent", task=task, **fields)
    usual = Adapter(_network("detect"), "nanoadapt", task=task)
    (image,) = _stream(1)
    doubts = []
    for adapter in (learning, usual):
        for _ in range(30):
            adapter(image)
        votes = class_logits(torch.as_tensor(adapter.predict(image)))
        doubts.append(float(torch.distributions.Categorical(logits=votes).entropy().mean()))
    assert doubts[0] < 0.9 * doubts[1]
    assert [one.config.label for one in (learning, usual)] == ["nanoadapt:tent", "nanoadapt:norm"]


def test_outputs_that_are_not_of_the_task_named_are_refused() -> None:
    with pytest.raises(ModelError, match=r"its task is classify: expected logits \(N, classes\)"):
        Adapter(_network("segment"), task="classify").prepare(SIZE)


def test_features_have_no_guard() -> None:
    adapter = _adapter("features")
    guard, image = Guard(adapter), _stream(1)[0]
    for call in (lambda: guard.predict(image), lambda: guard(image), lambda: Guard(adapter)):
        with pytest.raises(ConfigError, match="not features; leave it out"):
            call()


def test_the_folded_network_is_the_adapted_one() -> None:
    adapter = _adapter("segment by name")
    for image in _stream(3):
        adapter(image)
    folded, image = adapter.folded(), _stream(1)[0]
    with torch.no_grad():
        outputs = folded(image)
    for own, wanted in zip(nest.leaves(outputs), nest.leaves(adapter.predict(image)), strict=True):
        torch.testing.assert_close(own, wanted, rtol=1e-4, atol=1e-4)


def test_fields_that_are_given_win_over_the_tasks_own() -> None:
    (images,) = _stream(1)
    wanted = Segmentation.preset
    for given, strength in (({"strength": 0.25}, 0.25), ({}, wanted["strength"])):
        adapter = Adapter(_network("segment"), "nanoadapt", **given)
        adapter(images)
        table = adapter.config.calibration
        assert table.strength == strength
        assert (table.kind, table.alpha) == ("framewise", wanted["alpha"])
