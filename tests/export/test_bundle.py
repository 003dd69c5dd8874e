"""Export of bundles: the graphs compute what PyTorch computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import export.parity
from edge_tta.adapter import Adapter
from edge_tta.engines.torch import engine_of
from edge_tta.errors import ConfigError, ModelError, OutputError
from edge_tta.method.hosts import HostLoss, tent
from edge_tta.method.state import State
from edge_tta.models import Model
from export.bundle import export_bundle
from export.parity import _Reference
from export.parity_steps import furthest
from tests.bundle.bundles import SPEC, exported
from tests.networks import NETWORKS, network, with_statistics

CASES = ("alpha-bn", "eata", "sar", "delta", "nanoadapt:tent/paper")


@pytest.mark.parametrize("case", CASES)
def test_every_method_of_a_bundle_computes_what_pytorch_computes(case: str, tmp_path: Path) -> None:
    done, adapter = exported(tmp_path / "b", case, "residual")
    parity = done.parity[adapter.config.label]
    assert parity.steps >= export.parity.MIN_STEPS
    assert parity.updates >= 1 or not adapter.config.trains
    assert max(parity.logits, parity.state) <= export.parity.STEP_TOLERANCE


@pytest.mark.parametrize("net", NETWORKS)
def test_every_network_is_held_by_a_bundle(net: str, tmp_path: Path) -> None:
    done, adapter = exported(tmp_path / "b", "nanoadapt:tent/edge", net)
    assert done.parity[adapter.config.label].updates >= 1
    assert (tmp_path / "b" / "learn.onnx").is_file()


class _Casting(nn.Module):
    """Casts on the way, as networks from ONNX files do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        x = torch.relu(self.bn(self.conv(images.to(torch.float32))))
        logits: Tensor = self.head(x.mean((2, 3)).to(torch.float32))
        return logits


def test_a_network_that_casts_is_held(tmp_path: Path) -> None:
    model = Model("casting", with_statistics(_Casting()), SPEC)
    adapter = Adapter(model.module, input_spec=SPEC)
    done = export_bundle(model, [adapter], "edge", tmp_path / "b")
    assert done.parity["nanoadapt:tent"].updates >= 1


@pytest.mark.parametrize("jacobian", ["history", "latest"])
def test_convolutions_that_train_are_held_too(jacobian: str, tmp_path: Path) -> None:
    options = {"train": "affine+conv", "taylor": "affine+conv", "jacobian": jacobian}
    done, adapter = exported(tmp_path / "b", "nanoadapt:tent/edge", "residual", **options)
    assert done.parity[adapter.config.label].updates >= 1


def test_graphs_that_adapt_from_a_layer_on_hold_less_and_no_batch_norm_below(
    tmp_path: Path,
) -> None:
    import onnx

    options = {"adapt_from": "bn4"}
    counts = {}
    for name, more in (("a", {}), ("b", {**options, "calibrate_below": True}), ("c", options)):
        done, _ = exported(tmp_path / name, "nanoadapt:tent/edge", "residual", depth=0, **more)
        assert done.parity["nanoadapt:tent"].updates >= 1
        counts[name] = done.nodes["learn.onnx"], done.nodes["observe.onnx"]
        graph = onnx.load(tmp_path / name / "observe.onnx", load_external_data=False).graph
        normalised = sum(node.op_type == "BatchNormalization" for node in graph.node)
        assert normalised == (1 if name == "c" else 5)
    assert counts["b"][0] < counts["a"][0] - 50
    assert counts["b"][1] == counts["a"][1]
    assert counts["c"][1] <= counts["b"][1] - 40


class _Twins(nn.Module):
    """Units at the bend of their activation: differences of channels that are the same."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.bn = nn.BatchNorm2d(8)
        self.head = nn.Linear(4, 3)
        half = (self.conv.weight, self.conv.bias, self.bn.weight, self.bn.bias)
        with torch.no_grad():
            self.bn.bias.normal_()
            for values in (v for v in half if v is not None):
                values[4:] = values[:4]

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.bn(self.conv(x)).chunk(2, 1)
        logits: Tensor = self.head(torch.relu(one - other).mean((2, 3)))
        return logits


IMAGE = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)


def _uncertain(adapter: Adapter, *, learn: bool = True) -> dict[str, float]:
    """How uncertain an adapter's first step is, on IMAGE."""
    reference = _Reference(adapter.fresh_copy(), SPEC)
    reference(IMAGE, learn)
    return reference.sensitivity(IMAGE, learn)


def test_units_at_the_bend_count_as_uncertain_also_where_a_common_factor_leaves_them() -> None:
    torch.manual_seed(0)
    uncertain = _uncertain(Adapter(_Twins().eval(), "tent", input_spec=SPEC))
    assert max(uncertain.values()) > 100 * export.parity.STEP_TOLERANCE


class _Small(nn.Module):
    """A convolution, its BatchNorm and four classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.relu(self.bn(self.conv(images))).mean((2, 3)))
        return logits


class _Constant(_Small):
    """The last BatchNorm reads a channel that is off wherever one looks."""

    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            self.conv.bias[2] = -1e3  # type: ignore[index]
        self.bn.running_mean.fill_(0.5)  # type: ignore[union-attr]

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.bn(torch.relu(self.conv(images))).mean((2, 3)))
        return logits


def test_distances_of_a_channel_that_is_constant_in_a_frame_count_as_uncertain() -> None:
    torch.manual_seed(0)
    adapter = Adapter(_Constant().eval(), "nanoadapt:norm", input_spec=SPEC)
    assert max(_uncertain(adapter).values()) < export.parity.STEP_TOLERANCE  # it takes two passes
    uncertain = _uncertain(adapter, learn=False)
    distances = {name: uncertain.pop(name) for name in ("calib.from_lasting", "calib.from_recent")}
    assert min(distances.values()) > 3 * export.parity.STEP_TOLERANCE
    assert max(uncertain.values()) < export.parity.STEP_TOLERANCE


class _Anchored(nn.Module):
    """Counts its positions in the forward pass, as detectors make their anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)

    def forward(self, images: Tensor) -> Tensor:
        x: Tensor = self.bn(self.conv(images))
        rows = torch.arange(x.shape[2], dtype=x.dtype) + 0.5
        places = (rows[:, None] * torch.arange(0, x.shape[3])).flatten()
        return x.flatten(2) * places


def test_positions_that_a_network_counts_are_held(tmp_path: Path) -> None:
    model = Model("anchored", with_statistics(_Anchored()), SPEC)
    adapter = Adapter(model.module, input_spec=SPEC)
    done = export_bundle(model, [adapter], "edge", tmp_path / "b")
    assert done.parity["nanoadapt:norm"].excess <= 1


class _Sure(_Small):
    """Answers 1 - 1e-7 and surer, whatever it sees."""

    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            self.head.bias.copy_(torch.tensor([16.0, 0.0, -3.0, -9.0]))


def test_a_gradient_that_is_rounding_is_let_pass_and_nothing_else(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Model("sure", with_statistics(_Sure()), SPEC)
    adapter = Adapter(model.module, "nanoadapt:tent", input_spec=SPEC)
    uncertain = _uncertain(adapter)
    assert uncertain.pop("opt.gradient") > 10 * export.parity.STEP_TOLERANCE
    assert max(uncertain.values()) < export.parity.STEP_TOLERANCE
    done = export_bundle(model, [adapter], "edge", tmp_path / "b", frames=[IMAGE])
    assert done.parity["nanoadapt:tent"].excess <= 1


def test_nan_in_any_output_is_the_worst_difference() -> None:
    good, bad = np.ones(3), np.array([1.0, np.nan, 1.0])
    assert np.isnan(furthest([good, bad], [good, good]))
    assert np.isnan(furthest([bad, good], [good, good]))
    assert furthest([good, good], [good, good]) == 0


class _Float32(_Twins):
    """Its result cannot be computed in float64."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float() * torch.ones((), dtype=torch.float32))


def test_without_float64_a_change_by_rounding_alone_tells_how_sure_a_step_is() -> None:
    torch.manual_seed(0)
    uncertain = _uncertain(Adapter(_Float32().eval(), "tent", input_spec=SPEC))
    assert max(uncertain.values()) > 100 * export.parity.STEP_TOLERANCE


def test_a_bundle_that_does_not_compute_the_same_is_refused_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STEP_TOLERANCE", "MOST_TOLERANCE"):
        monkeypatch.setattr(export.parity, name, 0.0)
    with pytest.raises(ModelError, match="does not compute what PyTorch computes"):
        exported(tmp_path / "b", "norm", "plain")
    assert list(tmp_path.iterdir()) == []


class _Sorted(nn.Module):
    """Uses an operator that bundles do not hold."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        values: Tensor = torch.sort(self.bn(self.conv(x)).flatten(1), dim=1)[0]
        return values[:, :4]


def test_operators_that_bundles_do_not_hold_are_named_before_any_work(tmp_path: Path) -> None:
    model = Model("sorted", with_statistics(_Sorted()), SPEC)
    adapter = Adapter(model.module, input_spec=SPEC)
    with pytest.raises(ModelError, match=r"^the network uses operators .* hold: .*aten\.sort"):
        export_bundle(model, [adapter], "edge", tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_operators_of_a_host_that_bundles_do_not_hold_are_told_as_its(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss(logits: Tensor, state: State) -> HostLoss:
        return HostLoss(logits.sort(-1)[0][..., 0], {})

    monkeypatch.setattr(tent, "loss", loss)
    model = Model("plain", network("plain"), SPEC)
    adapter = Adapter(model.module, input_spec=SPEC)
    said = r"^the network or the host tent uses operators that exports do not hold: .*aten\.sort"
    with pytest.raises(ModelError, match=said):
        export_bundle(model, [adapter], "edge", tmp_path / "b")


def test_a_folder_with_something_in_it_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="exists already"):
        exported(tmp_path, "norm", "plain")
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_a_fisher_diagonal_is_refused(tmp_path: Path) -> None:
    model = Model("plain", network("plain"), SPEC)
    adapter = Adapter(model.module, "eata", input_spec=SPEC, fisher_weight=1.0)
    with pytest.raises(ConfigError, match="Fisher"):
        export_bundle(model, [adapter], "edge", tmp_path / "b")


def test_adapted_tensors_are_inputs_of_the_graph_and_batch_norm_is_in_it(tmp_path: Path) -> None:
    import onnx

    _, adapter = exported(tmp_path / "b", "nanoadapt:tent/edge", "residual")
    adapter.prepare((3, 8, 8))
    sites = len(engine_of(adapter).step.program.sites)
    for name in ("observe.onnx", "learn.onnx"):
        graph = onnx.load(tmp_path / "b" / name, load_external_data=False).graph
        inputs = {item.name for item in graph.input}
        assert {
            "images",
            "calib.recent_offset",
            "calib.lasting_variance",
            "opt.parameters",
        } <= inputs
        kinds = [node.op_type for node in graph.node]
        assert kinds.count("BatchNormalization") == sites
        onnx.checker.check_model(str(tmp_path / "b" / name), full_check=True)


def test_parity_is_measured_on_the_frames_that_are_given(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.normal(size=(1, 3, 8, 8)).astype(np.float32) for _ in range(3)]
    model = Model("plain", network("plain"), SPEC)
    adapter = Adapter(model.module, "norm", input_spec=SPEC)
    done = export_bundle(model, [adapter], "edge", tmp_path / "b", frames)
    assert done.parity["norm"].steps == export.parity.MIN_STEPS
