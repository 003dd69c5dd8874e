"""Statistics measured again on source frames: those of the frames, and the function stays."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from edge_tta import Adapter
from edge_tta.errors import ConfigError, ModelError
from edge_tta.network.own_statistics import worth_under_own_statistics
from edge_tta.network.source_statistics import measure
from edge_tta.tasks import Classification, Detection, Segmentation
from tests.networks import Plain, Residual, with_statistics

_Norm = nn.modules.batchnorm._BatchNorm
IMAGES = torch.randn((40, 3, 12, 12), generator=torch.Generator().manual_seed(1)) * 0.4 + 0.3


def one_by_one(images: torch.Tensor) -> list[torch.Tensor]:
    return [images[i : i + 1] for i in range(len(images))]


def norms_of(network: nn.Module) -> list[_Norm]:
    return [m for m in network.modules() if isinstance(m, _Norm)]


@pytest.mark.parametrize("network", [Plain, Residual])
def test_the_function_stays_and_training_mode_would_normalise_by_the_same(
    network: type[nn.Module],
) -> None:
    module = with_statistics(network())
    before = copy.deepcopy(module)
    done = measure(module, one_by_one(IMAGES))
    assert done.layers == len(norms_of(module))
    assert done.frames == len(IMAGES)
    with torch.no_grad():
        torch.testing.assert_close(module(IMAGES), before(IMAGES), rtol=1e-4, atol=1e-5)
        # All frames as one batch, in training mode, have these statistics.
        torch.testing.assert_close(module.train()(IMAGES), before(IMAGES), rtol=1e-3, atol=1e-4)
        assert not torch.allclose(before.train()(IMAGES), module.eval()(IMAGES), atol=1e-2)


def test_what_is_not_called_or_has_no_scale_stays() -> None:
    module = with_statistics(Plain())
    module.bn2 = nn.BatchNorm2d(8, affine=False).eval()
    module.unused = nn.BatchNorm2d(4)
    assert measure(module, one_by_one(IMAGES)).layers == 3
    for norm in (module.bn2, module.unused):
        assert isinstance(norm.running_var, torch.Tensor)
        torch.testing.assert_close(norm.running_var, torch.ones_like(norm.running_var))
    assert not any(norm._forward_pre_hooks for norm in norms_of(module))


def test_a_channel_that_is_constant_keeps_its_value() -> None:
    module = with_statistics(Plain())
    with torch.no_grad():
        module.conv2.weight[0].zero_()
    before = copy.deepcopy(module)
    measure(module, one_by_one(IMAGES))
    assert module.bn2.running_var[0] == 0
    with torch.no_grad():
        torch.testing.assert_close(module(IMAGES), before(IMAGES), rtol=1e-4, atol=1e-5)


def test_what_says_nothing_is_refused_and_leaves_no_hook() -> None:
    module = with_statistics(Plain())
    with pytest.raises(ModelError, match="3 source frames are too few"):
        measure(module, one_by_one(IMAGES[:3]))
    with pytest.raises(ModelError, match=r"BatchNorm bn1 .* not finite .* --scale"):
        measure(module, one_by_one(IMAGES * float("nan")))
    with pytest.raises(ModelError, match="no BatchNorm layer with statistics, scale and shift"):
        measure(nn.Sequential(nn.Conv2d(3, 4, 3)), one_by_one(IMAGES))
    assert not any(norm._forward_pre_hooks for norm in norms_of(module))


class Brightest(nn.Module):
    """A classifier whose class is the image's brightest channel."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 9 * self.norm(images).mean((2, 3))


@pytest.mark.parametrize("shift", [0.0, 20.0])
def test_a_classifiers_statistics_stay_unless_those_measured_tell_it_more(shift: float) -> None:
    images = IMAGES[:36].clone()
    for place, image in enumerate(images):
        image[place % 3] += 1
    module = Brightest()
    measure(module, one_by_one(images))
    with torch.no_grad():
        # Statistics of other pictures, the same function; by their own, all are of class 0.
        module.norm.running_mean[0] += shift  # type: ignore[index]
        module.norm.bias[0] += shift * module.norm.weight[0] / module.norm.running_var[0].sqrt()  # type: ignore[index]
    before = copy.deepcopy(module)
    done = measure(module, one_by_one(images), task=Classification())
    assert done.kept == (shift == 0)
    assert measure(copy.deepcopy(before), one_by_one(images)).kept is False
    same = {k: torch.equal(v, before.state_dict()[k]) for k, v in module.state_dict().items()}
    assert all(same.values()) == done.kept
    with torch.no_grad():
        torch.testing.assert_close(module(images), before(images), rtol=1e-4, atol=1e-3)


class LateNan(Plain):
    """Not finite once its first BatchNorm has other statistics."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = self.bn1.running_mean
        assert kept is not None
        return super().forward(x) / (kept == 0).all()


def test_outputs_that_become_infinite_are_refused() -> None:
    module = with_statistics(LateNan())
    with torch.no_grad():
        module.bn1.running_mean.zero_()
    with pytest.raises(ModelError, match=r"the network differs by inf"):
        measure(module, one_by_one(IMAGES))


def test_the_choice_is_the_same_where_the_classes_come_one_after_another() -> None:
    images = IMAGES[:36].clone()
    for place, image in enumerate(images):
        image[place % 3] += 1
    in_runs = [images[i : i + 1] for i in sorted(range(36), key=lambda i: i % 3)]
    module = Brightest()
    measure(module, in_runs)
    assert measure(module, in_runs * 6, task=Classification()).kept


def test_a_detector_that_nobody_can_read_takes_them() -> None:
    def decode(outputs: torch.Tensor) -> list[tuple[object, object, object]]:
        scores = torch.sigmoid(outputs[0]).numpy()
        corners = np.tile(np.array([0.0, 0.0, 1.0, 1.0]), (len(scores), 1))
        return [(corners, scores, np.zeros(len(scores)))]

    module = with_statistics(Plain())
    assert measure(copy.deepcopy(module), one_by_one(IMAGES), task=Detection()).kept is False
    norms = {name: m for name, m in module.named_modules() if isinstance(m, _Norm)}
    made = worth_under_own_statistics(module, norms, one_by_one(IMAGES), Detection(decode))
    with torch.no_grad():
        scores = torch.sigmoid(copy.deepcopy(module).train()(IMAGES))
    assert made == pytest.approx(float(scores.max(1).values.mean()), rel=1e-3)


def test_what_is_compared_is_left_in_evaluation_mode_with_its_statistics() -> None:
    module = with_statistics(Plain())
    before = copy.deepcopy(module.state_dict())
    norms = {name: m for name, m in module.named_modules() if isinstance(m, _Norm)}
    images = one_by_one(IMAGES)
    made = worth_under_own_statistics(module, norms, images, Classification())
    with torch.no_grad():
        p = copy.deepcopy(module).train()(IMAGES).softmax(1)
    bits = (-p.mean(0) * p.mean(0).log()).sum() + (p * p.log()).sum(1).mean()
    assert made == pytest.approx(float(bits), rel=1e-3)
    assert worth_under_own_statistics(module, norms, images, Segmentation()) is None
    assert worth_under_own_statistics(module, norms, images, None) is None
    assert not module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_an_adapter_measures_a_copy_and_begins_as_the_source() -> None:
    module = with_statistics(Residual())
    before = copy.deepcopy(module.state_dict())
    adapter = Adapter(module, source_images=IMAGES)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    with torch.no_grad():
        expected = module(IMAGES[:1])
    torch.testing.assert_close(adapter.predict(IMAGES[:1]), expected, rtol=1e-4, atol=1e-5)
    flipped = np.ascontiguousarray(IMAGES.numpy()[..., ::-1])[..., ::-1]
    again = Adapter(module, source_images=flipped)
    assert again.engine.network.fingerprint == adapter.engine.network.fingerprint  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match="0 source frames are too few"):
        Adapter(module, source_images=IMAGES[:0])
    with pytest.raises(ConfigError, match="network of another adapter has its statistics"):
        Adapter(adapter.engine.network, source_images=IMAGES)
