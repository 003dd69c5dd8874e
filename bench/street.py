"""A road scene to segment, made here: a network, the drive it is measured on, and one in weather.

python -m bench.street --out street/
edge-tta run street/weather --model bench/street.py:network --weights street/street.safetensors ...
edge-tta bench error --model ... --data street/drive --corruptions clean,fog:3 ...

Pictures are those of the demo's drive, with a mask of what is where. In training the weather is
clear and nothing is blurred or noisy; the drives are others than what was trained on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from edge_tta.cli import values
from edge_tta.demo.scenery import KINDS
from edge_tta.demo.stream import CLEAR, DemoFrame, drive
from edge_tta.files import write_whole
from edge_tta.prepare import InputSpec

SIDE = 128
INPUT = {"size": SIDE, "scale": 255.0, "mean": (0.53, 0.53, 0.52), "std": (0.23, 0.23, 0.27)}
LABELS = KINDS
TASK = "segment"

_WIDTHS = (16, 32, 48, 64)
_BATCH, _RATE = 16, 4e-3
_TRAINED, _MEASURED, _WEATHER = 11, 12, 13
"""Seeds of the drives."""


class _Layer(nn.Sequential):
    def __init__(self, given: int, made: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(given, made, 3, stride, 1, bias=False), nn.BatchNorm2d(made), nn.ReLU()
        )


class StreetNet(nn.Module):
    """An encoder and a decoder with shortcuts: images (N, 3, H, W) -> logits (N, 5, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        down = zip((3, *_WIDTHS[:-1]), _WIDTHS, strict=True)
        up = zip(_WIDTHS[:0:-1], _WIDTHS[-2::-1], strict=True)
        self.down = nn.ModuleList(
            nn.Sequential(_Layer(given, made, 2), _Layer(made, made)) for given, made in down
        )
        self.up = nn.ModuleList(_Layer(low + high, high) for low, high in up)
        self.classes = nn.Conv2d(_WIDTHS[0], len(KINDS), 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits as large as the images, whose sides are multiples of 16."""
        levels = [images]
        for layer in self.down:
            levels.append(layer(levels[-1]))
        x = levels.pop()
        for layer, level in zip(self.up, reversed(levels[1:]), strict=True):
            x = layer(torch.cat((functional.interpolate(x, scale_factor=2.0), level), 1))
        logits: Tensor = functional.interpolate(self.classes(x), scale_factor=2.0, mode="bilinear")
        return logits


def network() -> StreetNet:
    """Return the network, untrained."""
    return StreetNet()


def clear(frames: int, seed: int) -> Iterator[DemoFrame]:
    """Return a drive in clear weather."""
    return drive(frames, seed, [(CLEAR, 0.0)] * frames)


def trained(
    frames: Sequence[DemoFrame],
    epochs: int,
    advance: Callable[[], None] = lambda: None,
    seed: int = 0,
) -> StreetNet:
    """Return the network trained by cross-entropy; `advance` is called after each epoch."""
    torch.manual_seed(seed)
    order = np.random.default_rng(seed)
    model, side = network().train(), (SIDE, SIDE)
    pictures = np.stack([cv2.resize(f.frame, side, interpolation=cv2.INTER_AREA) for f in frames])
    masks = np.stack([cv2.resize(f.mask, side, interpolation=cv2.INTER_NEAREST) for f in frames])
    images = torch.from_numpy(InputSpec(**INPUT).normalise(pictures))  # type: ignore[arg-type]
    truth = torch.from_numpy(masks.astype(np.int64))
    optimizer = torch.optim.AdamW(model.parameters(), _RATE, weight_decay=0.02)
    batches = len(frames) // _BATCH
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, epochs * batches)
    for _ in range(epochs):
        for chosen in np.array_split(order.permutation(len(frames))[: batches * _BATCH], batches):
            flips = [3] if order.random() < 0.5 else []
            shown, wanted = images[chosen].flip(flips), truth[chosen].flip([f - 1 for f in flips])
            loss = functional.cross_entropy(model(shown), wanted)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            plan.step()
        advance()
    return model.eval()


def write(frames: Iterable[DemoFrame], folder: Path) -> int:
    """Write frames as PNGs, their masks beside them in `labels`; return how many there are."""
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    count = 0
    for count, frame in enumerate(frames, 1):
        for path, pixels in (
            (folder / f"{count:04d}.png", frame.frame[..., ::-1]),
            (folder / "labels" / f"{count:04d}.png", frame.mask),
        ):
            _, data = cv2.imencode(".png", pixels)
            write_whole(path, data.tobytes())
    return count


def main(argv: Sequence[str] | None = None) -> int:
    """Renders, trains, and writes the weights and the two drives."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--frames", type=values.count, default=1600, help="that are trained on")
    parser.add_argument("--epochs", type=values.count, default=8)
    parser.add_argument("--measured", type=values.count, default=120, help="frames of the drive")
    parser.add_argument(
        "--weather", type=values.count, default=300, help="frames of that in weather"
    )
    arguments = parser.parse_args(argv)
    if arguments.frames < _BATCH:
        parser.error(f"--frames must be at least {_BATCH}, a batch")
    out: Path = arguments.out
    with Progress(console=Console(stderr=True)) as progress:
        rendering = progress.add_task("rendering", total=arguments.frames)
        training = progress.add_task("training", total=arguments.epochs)
        frames = []
        for frame in clear(arguments.frames, _TRAINED):
            frames.append(frame)
            progress.advance(rendering)
        model = trained(frames, arguments.epochs, lambda: progress.advance(training))
    measured = write(clear(arguments.measured, _MEASURED), out / "drive")
    weather = write(drive(arguments.weather, _WEATHER), out / "weather")
    # The last one: where the weights are, everything is.
    write_whole(out / "street.safetensors", save(model.state_dict()))
    print(f"{out}: street.safetensors, drive ({measured} clear frames), weather ({weather} frames)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
