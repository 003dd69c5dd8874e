"""Peers: methods of others, from copies of their repositories."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.cost.torch_subjects import PeerSubject
from bench.error import Runner, Setting, in_processes, measure_error
from bench.orders import make_streams, parse_order
from bench.peers import REPOSITORIES, Peer, parse_peers
from bench.sets import LabelledSet
from edge_tta.errors import ConfigError, ModelError
from edge_tta.models import Model
from edge_tta.network.source import SourceNetwork
from edge_tta.prepare import InputSpec
from tests.bench.pictures import pictures
from tests.networks import network

CPU = torch.device("cpu")
SPEC = InputSpec(size=12, scale=128.0)


def model(name: str) -> Model:
    return Model(name, network(name), SPEC)


def test_a_repository_s_tent_is_run_from_its_folder(tmp_path: Path) -> None:
    # The interface of DequanWang/tent, in words of our own.
    (tmp_path / "tent.py").write_text(
        "import torch\n"
        "def configure_model(model): return model.train()\n"
        "def collect_params(model): return list(model.parameters()), []\n"
        "class Tent(torch.nn.Module):\n"
        "    def __init__(self, model, optimizer):\n"
        "        super().__init__(); self.model, self.optimizer = model, optimizer\n"
        "    def forward(self, x):\n"
        "        logits = self.model(x); logits.sum().backward(); self.optimizer.step()\n"
        "        return logits\n"
    )
    stages: list[str] = []
    peer = Peer("DequanWang/tent", str(tmp_path)).build(model("plain"), CPU)
    peer.on_stage = stages.append
    assert peer(torch.randn(2, 3, 12, 12)).shape == (2, 5)
    assert stages == ["prepare", "whole step"]
    # Adam's moments are part of what it holds.
    peer = Peer("DequanWang/tent", str(tmp_path)).build(model("residual"), CPU)
    subject, image = PeerSubject(peer, CPU), np.zeros((1, 3, 12, 12), np.float32)
    parameters = sum(p.untyped_storage().nbytes() for p in network("residual").parameters())
    before, after = (subject.sizes(image)["state_bytes"] for _ in range(2))
    assert before == parameters
    assert after > 2.9 * parameters


@pytest.mark.parametrize("name", REPOSITORIES)
def test_a_folder_that_is_no_copy_of_the_repository_is_refused(name: str, tmp_path: Path) -> None:
    address = f"git clone https://github.com/{REPOSITORIES[name].repository}"
    with pytest.raises(ModelError, match=address):
        Peer(name, str(tmp_path)).build(model("plain"), CPU)


def test_a_repository_that_takes_cuda_unasked_is_not_measured_as_if_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "classification" / "methods").mkdir(parents=True)
    (tmp_path / "classification" / "methods" / "tent.py").touch()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(ModelError, match="hide the GPU"):
        Peer("mariodoebler/test-time-adaptation", str(tmp_path)).build(model("plain"), CPU)


@pytest.mark.parametrize(
    ("text", "told"),
    [("tensor", "unknown peer 'tensor'"), ("DequanWang/tent", "needs a checked-out copy")],
)
def test_a_peer_that_is_not_known_or_lacks_its_folder_is_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_peers(text)


_UNITTA = {
    "core/__init__.py": "",
    "core/configs/__init__.py": """
        class Node(dict):
            __getattr__, __setattr__ = dict.__getitem__, dict.__setitem__
            def clone(self):
                return Node({k: v.clone() if isinstance(v, Node) else v for k, v in self.items()})
            def defrost(self): pass
            def merge_from_file(self, path): self["path"] = path
        d_cfg = Node(CORRUPTION=Node(), INPUT=Node(), TEST=Node(), SEED=5)
        d_cfg["ADAPTER"] = Node(UNITTA=Node(CLASSIFIER="", LAYER=""))
        """,
    "core/utils/__init__.py": "import torch\nset_random_seed = torch.manual_seed",
    "core/optim/__init__.py": "build_optimizer = lambda settings: None",
    "core/adapter/build.py": "",
    "core/adapter/__init__.py": """
        import torch
        class Adapter:
            def __init__(self, settings, model, optimizer):
                print("chatter")
                self.settings, self.model, self.optimizer = settings, model, optimizer
                self.seen, self.drawn = torch.zeros(1, device="cuda"), torch.rand(1)
            def __call__(self, pictures):
                assert 0 <= pictures.min() and pictures.max() <= 1
                self.seen += torch.ones(1).cuda()
                return self.model(pictures) + self.seen * self.drawn, 2
        build_adapter = lambda settings: Adapter
        """,
}
"""The interface of LeapLabTHU/UniTTA, in words of our own."""


@pytest.fixture
def unitta(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, text in _UNITTA.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(textwrap.dedent(text))
        module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        monkeypatch.delitem(sys.modules, module, raising=False)
    return str(tmp_path)


def test_a_method_of_unitta_takes_pictures_on_the_device_and_starts_from_its_seed(
    unitta: str, capsys: pytest.CaptureFixture[str]
) -> None:
    peers = parse_peers(f"LeapLabTHU/UniTTA={unitta}")
    assert [peer.method for peer in peers.values()][-1] == "unitta"
    assert parse_peers(f"UniTTA/unitta={unitta}") == {"UniTTA/unitta": peers["UniTTA/unitta"]}
    images = torch.from_numpy(SPEC.normalise(pictures(0, 2, 12)))
    logits = network("plain")(images).detach()
    for _ in range(2):
        peer = peers["UniTTA/unitta"].build(model("plain"), CPU)
        drawn = torch.rand(1, generator=torch.Generator().manual_seed(5))
        for seen in (1, 2):
            torch.testing.assert_close(peer(images), logits + seen * drawn, rtol=1e-4, atol=1e-4)
    settings = peer._adapted._adapter.settings
    assert settings["path"] == str(Path(unitta, "configs/adapter/cifar10/unitta.yaml"))
    assert settings["ADAPTER"]["UNITTA"] == {"CLASSIFIER": "network.head", "LAYER": "network.bn1"}
    assert (settings["CORRUPTION"]["NUM_CLASS"], settings["INPUT"]["SIZE"]) == (5, (12, 12))
    assert capsys.readouterr().out == ""


def test_errors_of_a_peer_are_those_of_the_peer_on_the_same_stream(unitta: str) -> None:
    peers = parse_peers(f"UniTTA/rotta={unitta}")
    labels = np.random.default_rng(0).integers(0, 5, 15)
    arrays = {name: pictures(seed, 15, 12) for seed, name in enumerate(("fog", "snow"))}
    source = SourceNetwork(network("plain"), CPU)
    runner = Runner(source, model("plain"), LabelledSet("some", 4, arrays, labels))
    order = parse_order("iid")
    with in_processes(lambda: runner, 1) as run:
        (rows,) = measure_error(run, runner.data, peers, Setting(order))
    for row, stream in zip(rows, make_streams(order, labels, 2, 0), strict=True):
        peer = peers["UniTTA/rotta"].build(model("plain"), CPU)
        frames = torch.from_numpy(SPEC.normalise(arrays[row.corruption][stream.picture]))
        wrong = [int(peer(frame[None]).argmax()) for frame in frames] != labels[stream.picture]
        assert row.error == pytest.approx(wrong.mean())
        assert (row.label, row.method, row.host) == ("UniTTA/rotta", "rotta", None)
