"""What a look at a module tells: refusals where an adapter is made, and advice that fits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from edge_tta.errors import ModelError
from edge_tta.network.capture import capture
from edge_tta.network.checking import evaluating
from edge_tta.network.source import SourceNetwork
from tests.networks import Plain, frozen, network, with_statistics

CPU = torch.device("cpu")


def _pruned() -> nn.Module:
    net = Plain()
    prune.l1_unstructured(net.conv2, "weight", amount=0.3)
    return net


def _weight_normed() -> nn.Module:
    net = Plain()
    nn.utils.weight_norm(net.conv1)
    return net


def _spectral_normed() -> nn.Module:
    net = Plain()
    nn.utils.spectral_norm(net.fc)
    return net


def _quantised() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(Plain().eval(), {nn.Linear})  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore")  # of PyTorch, on what it deprecates
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_pruned, r'conv2 is pruned.*prune\.remove\(model\.conv2, "weight"\)'),
        (_weight_normed, r"conv1 is under weight_norm.*remove_weight_norm\(model\.conv1\)"),
        (_spectral_normed, r"fc is under spectral_norm.*remove_spectral_norm\(model\.fc\)"),
        (_quantised, r"is quantised.* \(fc\); expected the float network"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), "holds no BatchNorm"),
        (
            lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4, affine=False)),
            r"holds no BatchNorm .*\(it normalises by GroupNorm, without a scale\)",
        ),
    ],
    ids=["pruned", "weight_norm", "spectral_norm", "quantised", "no norm", "other norms"],
)
def test_what_no_capture_could_use_is_refused_at_once_with_the_remedy(
    make: Callable[[], nn.Module], said: str
) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        SourceNetwork(make(), CPU)
    assert "\n" not in str(caught.value)


def test_statistics_that_are_frozen_parameters_are_left_to_the_capture() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean = nn.Parameter(torch.zeros(3), requires_grad=False)
            self.variance = nn.Parameter(torch.ones(3), requires_grad=False)

        def forward(self, images: Tensor) -> Tensor:
            return nn.functional.batch_norm(images, self.mean, self.variance).mean((2, 3))

    assert len(SourceNetwork(Own(), CPU).program((3, 8, 8)).sites) == 1


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_parts_are_taken_out_of_their_wrappers(wrap: Callable[..., nn.Module]) -> None:
    plain, wrapped = network("plain"), network("plain")
    wrapped.conv2 = wrap(wrapped.conv2)
    held = SourceNetwork(wrapped, CPU)
    assert held.fingerprint == SourceNetwork(plain, CPU).fingerprint
    assert isinstance(held.copy().conv2, nn.Conv2d)
    assert not isinstance(wrapped.conv2, nn.Conv2d)  # the model given stays as it is


def test_a_compiled_forward_pass_is_the_plain_one() -> None:
    plain, compiled = network("plain"), network("plain")
    compiled.forward = torch.compile(compiled.forward, backend="eager")
    program = SourceNetwork(compiled, CPU).program((3, 8, 8))
    assert set(program.parameters) == set(SourceNetwork(plain, CPU).program((3, 8, 8)).parameters)


def test_an_average_without_a_forward_pass_is_the_network_in_it() -> None:
    class Average(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.module = model

    model = network("plain")
    assert SourceNetwork(Average(model), CPU).fingerprint == SourceNetwork(model, CPU).fingerprint


def test_an_exported_module_is_in_the_mode_that_it_was_exported_in() -> None:
    images = torch.randn(2, 3, 8, 8)
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    exported = torch.export.export(network("plain"), (images,), dynamic_shapes=shapes).module()
    assert evaluating(exported) is exported
    assert len(SourceNetwork(exported, CPU).program((3, 8, 8)).sites) == 3


class _TrainsItsOwnWay(Plain):
    def train(self) -> nn.Module:  # type: ignore[override]
        return super().train(True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_TrainsItsOwnWay, r"cannot be put in evaluation mode: .*def train\(self, mode=True\)"),
        (
            lambda: nn.Sequential(network("plain"), torch.jit.script(nn.Linear(5, 5))),
            "1 is TorchScript",
        ),
    ],
    ids=["its own train()", "TorchScript inside"],
)
def test_what_has_no_evaluation_mode_is_refused(make: Callable[[], nn.Module], said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        SourceNetwork(make(), CPU)
    assert "\n" not in str(caught.value)


class _Taking(nn.Module):
    """A network in front of which images are made to fit, or not."""

    def __init__(self, prepare: Callable[[Tensor], Tensor], size: int | None = None) -> None:
        super().__init__()
        self.net, self.prepare, self.size = network("plain"), prepare, size

    def forward(self, images: Tensor) -> Tensor:
        x = self.prepare(images)
        assert self.size in (None, x.shape[2]), "another size"
        logits: Tensor = self.net(x)
        return logits


class _Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = network("plain")

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        logits: Tensor = self.net(left + right)
        return logits


def _bytes(images: Tensor) -> Tensor:
    if images.dtype is not torch.uint8:
        raise TypeError("expected bytes")
    return images.float() / 255


def _of_fours(images: Tensor) -> Tensor:
    half = images[..., ::4, ::4].repeat_interleave(4, 2).repeat_interleave(4, 3)
    return images + half


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (_Pair(), r"takes 2 inputs \(left, right\): wrap it"),
        (_Taking(_bytes), "takes uint8 images: wrap it"),
        (_Taking(lambda x: x.permute(0, 3, 1, 2)), "the channels last"),
        (_Taking(lambda x: x.repeat(1, 3, 1, 1)), "images of 1 channel: set --channels gray"),
        (_Taking(_of_fours), r"its sides must be multiples of 4: set --size 12x12$"),
        (_Taking(lambda x: x, 64), "images of 64 x 64, not 12 x 10: set --size 64"),
        (_Taking(lambda x: x.reshape(3, 12, 10)[None]), "one image alone: remove what fixes"),
        (_Taking(lambda x: x.reshape(7, 7)), "expected a forward pass of that float tensor"),
    ],
    ids=["two inputs", "uint8", "NHWC", "gray", "multiples", "size", "one image", "anything else"],
)
def test_the_advice_fits_what_the_network_takes(model: nn.Module, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        capture(frozen(model), (3, 12, 10))
    assert ("--size" in str(caught.value)) == ("--size" in said)


def test_a_network_of_one_channel_and_another_size_is_told_of_gray() -> None:
    network = with_statistics(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten()))
    network.append(nn.Linear(2 * 5 * 7, 3))
    with pytest.raises(ModelError, match=r"seems to take images of 1 channel: set --channels gray"):
        capture(frozen(network), (3, 12, 10))


def test_a_network_of_three_channels_is_not_told_of_gray() -> None:
    with pytest.raises(ModelError, match="images of 3 channels: leave --channels out"):
        capture(frozen(with_statistics(Plain())), (1, 12, 10))
