"""What was learned, exported as weights of a plain network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from edge_tta.adapter import Adapter
from edge_tta.demo.spec import INPUT
from edge_tta.demo.stream import drive
from edge_tta.engines.torch import engine_of
from edge_tta.errors import StateError
from edge_tta.models import Model, load_model
from export.adapted import adapter_of, delta_weights, folded_weights
from tests.cli.commands import assert_one_line_of_advice, call

FRAMES = 20
SHAPE = (3, INPUT.size, INPUT.size)
CASES: dict[str, dict[str, Any]] = {
    "edge": {},
    "paper": {"preset": "paper"},
    "norm": {"method": "norm"},
    "nanoadapt:norm": {"method": "nanoadapt:norm"},
    "convolutions": {"train": "affine+conv"},
}


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("demo")


@pytest.fixture(scope="module", params=CASES)
def adapted(
    request: pytest.FixtureRequest, model: Model, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Adapter, Path]:
    """An adapter after some frames, and its state file.

    The frames are negatives: far enough from the source that every method leaves it.
    """
    adapter = Adapter(model.module, input_spec=INPUT, **CASES[request.param])
    for seen in drive(FRAMES):
        adapter(INPUT.prepare(255 - seen.frame))
    path = tmp_path_factory.mktemp("state") / "state.safetensors"
    adapter.save(path)
    return request.param, adapter, path


def test_folded_weights_in_the_plain_network_answer_as_the_adapter(
    adapted: tuple[str, Adapter, Path], model: Model, tmp_path: Path
) -> None:
    _, adapter, state = adapted
    out = tmp_path / "folded.safetensors"
    result = call("export", "folded", "--model", "demo", "--state", state, "--out", out)
    assert result.code == 0, result.err
    plain = load_model("demo", out).module
    images = torch.randn((4, *SHAPE), generator=torch.Generator().manual_seed(1))
    expected = adapter.predict(images)
    with torch.no_grad():
        learned = float((model.module(images) - expected).abs().max())
        lost = float((plain(images) - expected).abs().max())
    assert learned > 1e-3 * float(expected.abs().max())
    assert lost < 0.01 * learned


def test_a_delta_on_the_source_weights_is_the_folded_network(
    adapted: tuple[str, Adapter, Path], demo_weights: Path, tmp_path: Path
) -> None:
    name, adapter, state = adapted
    out = tmp_path / "delta.safetensors"
    assert call("export", "delta", "--model", "demo", "--state", state, "--out", out).code == 0
    delta = load_file(out)
    plain = load_model("demo").module
    source = plain.state_dict()
    assert not [key for key, value in delta.items() if torch.equal(value, source[key])]
    found = plain.load_state_dict(delta, strict=False)
    assert not found.unexpected_keys
    folded = adapter.folded().state_dict()
    for key, value in plain.state_dict().items():
        assert torch.equal(value, folded[key]), key
    norms = {key for key, m in plain.named_modules() if isinstance(m, torch.nn.BatchNorm2d)}
    owners = {key.rsplit(".", 1)[0] for key in delta}
    assert bool(owners & norms)
    if name != "convolutions":
        assert owners <= norms
        assert out.stat().st_size < 0.1 * demo_weights.stat().st_size
    statistics_only = name in ("norm", "nanoadapt:norm")
    assert any(key.endswith(".bias") for key in delta) != statistics_only


def test_the_file_tells_where_it_comes_from(
    adapted: tuple[str, Adapter, Path], tmp_path: Path
) -> None:
    _, adapter, state = adapted
    out = tmp_path / "delta.safetensors"
    result = call("export", "delta", "--model", "demo", "--state", state, "--out", out)
    with safe_open(str(out), framework="pt") as file:
        header = file.metadata()
    assert header == {
        "format": "pt",
        "made_by": "edge_tta",
        "source_sha256": engine_of(adapter).network.fingerprint,
        "method": adapter.config.label,
        "steps": str(FRAMES),
    }
    assert f"from step {FRAMES} of {adapter.config.label}" in result.out


def test_the_adapter_of_a_state_goes_on_where_it_stopped(
    adapted: tuple[str, Adapter, Path], model: Model
) -> None:
    _, adapter, state = adapted
    again = adapter_of(model, state)
    assert again.config == adapter.config
    assert again.steps == FRAMES
    for name, value in adapter.state.items():
        assert torch.equal(again.state[name], value), name


def test_exporting_leaves_the_adapter_and_the_model_as_they_were(
    adapted: tuple[str, Adapter, Path], model: Model
) -> None:
    _, adapter, _ = adapted
    before = adapter.state
    source = {name: value.clone() for name, value in model.module.state_dict().items()}
    folded = folded_weights(adapter, SHAPE)
    delta = delta_weights(adapter, SHAPE)
    assert set(folded) == set(source)
    assert set(delta) < set(source)
    for name, value in adapter.state.items():
        assert torch.equal(value, before[name]), name
    for name, value in model.module.state_dict().items():
        assert torch.equal(value, source[name]), name


def test_a_folded_network_that_differs_is_not_written(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_tta.errors import ModelError

    adapter = Adapter(model.module, "norm")
    adapter(torch.randn(1, *SHAPE))
    monkeypatch.setattr(adapter, "folded", lambda: model.module)
    with pytest.raises(ModelError, match="differs from the adapter"):
        folded_weights(adapter, SHAPE)


@pytest.mark.parametrize("kind", ["folded", "delta"])
def test_a_state_of_another_network_is_refused(kind: str, model: Model, tmp_path: Path) -> None:
    state, out = tmp_path / "state.safetensors", tmp_path / "out.safetensors"
    net = tmp_path / "net.py"
    net.write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
    )
    adapter = Adapter(model.module, "norm")
    adapter(torch.randn(1, *SHAPE))
    adapter.save(state)
    words = ("--model", f"{net}:make", "--state", state, "--out", out)
    assert_one_line_of_advice(call("export", kind, *words), "another network")
    assert not out.exists()


def test_a_state_of_unknown_fields_is_refused(model: Model, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = tmp_path / "state.safetensors"
    adapter = Adapter(model.module, "norm")
    adapter(torch.randn(1, *SHAPE))
    adapter.save(state)
    with safe_open(str(state), framework="pt") as file:
        metadata = file.metadata()
    metadata["config"] = metadata["config"].replace('"accumulation"', '"accumulations"')
    save_file(load_file(state), state, metadata)
    with pytest.raises(StateError, match="another version of edge_tta"):
        adapter_of(model, state)


@pytest.mark.parametrize(
    ("out", "said"),
    [("out.pt", ".safetensors"), ("gone/out.safetensors", "does not exist; make it first")],
)
def test_a_place_that_does_not_do_is_told(
    out: str, said: str, model: Model, tmp_path: Path
) -> None:
    adapter = Adapter(model.module, "norm")
    adapter(torch.randn(1, *SHAPE))
    adapter.save(tmp_path / "state.safetensors")
    words = ("--state", tmp_path / "state.safetensors", "--out", tmp_path / out)
    assert_one_line_of_advice(call("export", "folded", "--model", "demo", *words), said)
