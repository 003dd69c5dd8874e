"""Networks that take gray, BGR or oblong images, from the command line to a bundle."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edge_tta.bundle.folder import Bundle
from edge_tta.models import load_model
from edge_tta.prepare import Channels, InputSpec
from tests.cli.commands import assert_one_line_of_advice, call, records
from tests.frames.media import textured

MODEL = """
import torch
from torch import nn

INPUT = {
    "thermal": dict(size=(48, 80), channels="gray", mean=0.5, std=0.25),
    "colour": dict(size="48x80", mean=(0.5, 0.4, 0.3), std=0.25),
}


class Net(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, 8, 3, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        return self.fc(torch.relu(self.bn(self.conv(x))).mean((2, 3)))


def made(channels):
    torch.manual_seed(0)
    return Net(channels)


def thermal():
    return made(1)


def colour():
    return made(3)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file, five labelled colour pictures that are oblong, and a set of them."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "net.py").write_text(MODEL)
    pictures = np.stack([textured(number, 60, 100) for number in range(5)])
    (folder / "pictures").mkdir()
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / "pictures" / f"{number}.png"), picture[..., ::-1])
    np.savez(folder / "set.npz", images=pictures, labels=np.arange(5) % 4)
    return folder


def _entropies(place: Path, *words: object) -> list[float]:
    log = place / "log.jsonl"
    result = call("run", place / "pictures", "--jsonl", log, *words)
    assert result.code == 0, result.err
    return [record["raw"]["entropy"] for record in records(log)]


def test_a_model_files_input_says_channels_and_sides(place: Path) -> None:
    model = load_model(f"{place / 'net.py'}:thermal")
    assert model.input == InputSpec((48, 80), 255.0, (0.5,), (0.25,), Channels.GRAY)
    assert load_model(f"{place / 'net.py'}:colour").input.shape == (3, 48, 80)


def test_a_gray_oblong_network_runs_is_exported_and_runs_the_same_as_a_bundle(place: Path) -> None:
    named = ("--model", f"{place / 'net.py'}:thermal")
    bundle, video = place / "bundle", place / "out.mp4"
    plain = _entropies(place, *named, "--method", "source")
    network = load_model(named[1])
    for number, entropy in enumerate(plain):
        image = torch.from_numpy(network.input.prepare(textured(number, 60, 100)))
        with torch.no_grad():
            expected = torch.distributions.Categorical(logits=network.module(image)).entropy()
        assert entropy == pytest.approx(float(expected), abs=1e-4)
    adapted = _entropies(place, *named, "--saved", "float32", "--save", video)
    assert video.stat().st_size > 0
    result = call("export", "bundle", *named, "--out", bundle)
    assert result.code == 0, result.err
    assert _entropies(place, "--model", bundle) == pytest.approx(adapted, abs=1e-3)
    for stage in ("tracing nanoadapt:tent", "writing learn.onnx", "comparing nanoadapt:tent"):
        assert f"exporting: {stage}" in result.err
    manifest = Bundle(bundle).manifest
    assert manifest.image_shape == (1, 48, 80)
    assert manifest.name == "net.py:thermal"
    for file in bundle.iterdir():
        assert str(place).encode() not in file.read_bytes()


def test_the_command_line_says_channels_and_sides(place: Path) -> None:
    colour = ("--model", f"{place / 'net.py'}:colour", "--method", "source")
    rgb = _entropies(place, *colour)
    bgr = _entropies(place, *colour, "--channels", "bgr")
    assert rgb != pytest.approx(bgr, abs=1e-4)
    thermal = ("--model", f"{place / 'net.py'}:thermal", "--method", "source")
    own = _entropies(place, *thermal)
    given = ("--channels", "gray", "--size", "48x80", "--mean", "0.5", "--std", "0.25")
    assert _entropies(place, *thermal, *given) == own
    assert _entropies(place, *thermal, "--size", "80x48") != pytest.approx(own, abs=1e-5)


def test_errors_are_measured_of_a_gray_oblong_network(place: Path, tmp_path: Path) -> None:
    result = call(
        *("bench", "error", "--model", f"{place / 'net.py'}:thermal", "--data", place / "set.npz"),
        *("--methods", "source,nanoadapt:tent", "--json", tmp_path / "errors.json"),
    )
    assert result.code == 0, result.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--size", "48x"), "size must be a whole number from 1 to 8192, or two, as HxW"),
        (("--size", "0x8"), "got (0, 8)"),
        (("--channels", "cmyk"), "invalid choice"),
        (("--threads", "100000"), "threads must be a whole number from 1 to"),
    ],
)
def test_values_out_of_range_are_a_wrong_command_line(words: tuple[str, str], said: str) -> None:
    result = call("run", "demo", *words)
    assert result.code == 2
    assert said in result.err.splitlines()[-1]


def test_three_means_of_a_gray_network_are_told(place: Path) -> None:
    words = ("--model", f"{place / 'net.py'}:thermal", "--mean", "1,2,3")
    result = call("run", place / "pictures", *words)
    assert_one_line_of_advice(result, "expected 1 value, one a channel, got 3")


def test_what_is_wrong_at_a_glance_is_told_before_pytorch_is_imported(place: Path) -> None:
    wrong = [
        ("--preset", "nonsense"),
        ("--method", "nonsense"),
        ("--views", "9"),
        ("--labels", "gone.txt"),
        ("--weights", "gone.pt"),
        ("--plot", "gone/x.png"),
    ]
    program = (
        "import json, sys; from edge_tta.cli.main import main\n"
        "for words in json.loads(sys.argv[1]): print(main(words), 'torch' in sys.modules)"
    )
    model = f"{place / 'net.py'}:thermal"
    lines = [["run", "demo", "--model", model, *words] for words in wrong]
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(lines)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1 False\n" * len(wrong), done.stderr
    told = done.stderr.splitlines()
    assert len(told) == len(wrong)
    for (_, value), line in zip(wrong, told, strict=True):
        assert Path(value).parts[0] in line


def test_a_plot_that_has_nothing_to_show_is_told(place: Path, tmp_path: Path) -> None:
    words = ("--model", f"{place / 'net.py'}:thermal", "--plot", tmp_path / "plot.png")
    result = call("run", place / "pictures", *words)
    assert result.code == 0
    assert "no plot in" in result.err
    assert "give labels" in result.err


def test_a_run_that_fails_at_its_first_frame_says_why_alone(place: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "0.png"), textured(0))
    (pictures / "labels.csv").write_text("file,label\n0.png,560\n")
    result = call("run", pictures, "--model", f"{place / 'net.py'}:thermal")
    assert_one_line_of_advice(result, "has the label 560 and the network has 4 classes")


def test_names_of_classes_cannot_speak_to_the_terminal(place: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.json"
    labels.write_text('["a\\u001b[31m", "b\\u202e", "c\\nd", "e\\u0007"]')
    words = ("--model", f"{place / 'net.py'}:thermal", "--labels", labels)
    result = call("run", place / "pictures", *words)
    assert result.code == 0
    assert not set(result.out + result.err) & set("\x1b\u202e\x07")


def test_a_corruption_is_guessed_from_a_part_of_its_name(place: Path, tmp_path: Path) -> None:
    words = ("corrupt", place / "set.npz", tmp_path / "out.npz", "--corruption", "jpeg")
    assert_one_line_of_advice(call(*words), "did you mean jpeg_compression?")


def test_corrupted_pictures_may_be_oblong(place: Path, tmp_path: Path) -> None:
    words = ("--corruption", "fog", "--size", "48x80")
    assert call("corrupt", place / "set.npz", tmp_path / "out.npz", *words).code == 0
    with np.load(tmp_path / "out.npz") as file:
        assert file["fog"].shape == (5, 48, 80, 3)
