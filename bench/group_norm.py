"""A small network with GroupNorm, trained here: what adapting it is worth is not known elsewhere.

python -m bench.group_norm --data pictures.npz --skip 600 --out group_norm.safetensors
edge-tta bench error --model bench/group_norm.py:network --weights group_norm.safetensors ...
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from edge_tta.array_files import open_npz
from edge_tta.cli import values
from edge_tta.files import write_whole
from edge_tta.prepare import InputSpec

INPUT = {"size": 32, "scale": 255.0, "mean": (0.5,) * 3, "std": (0.25,) * 3}
_CLASSES, _WIDTHS, _GROUPS = 10, (24, 48, 96), 8
_BATCH, _RATE, _DECAY, _SMOOTHING = 64, 2e-3, 0.05, 0.1


class Block(nn.Module):
    """Two convolutions with GroupNorm, and a shortcut."""

    def __init__(self, given: int, made: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(given, made, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(made, made, 3, 1, 1, bias=False)
        self.norm1, self.norm2 = nn.GroupNorm(_GROUPS, made), nn.GroupNorm(_GROUPS, made)
        self.short = nn.Conv2d(given, made, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return values (N, made, H / stride, W / stride) of (N, given, H, W)."""
        y = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(y)) + self.short(x))


def network() -> nn.Sequential:
    """Return the network, untrained: images (N, 3, 32, 32) -> logits (N, 10)."""
    first, second, third = _WIDTHS
    return nn.Sequential(
        nn.Conv2d(3, first, 3, 1, 1, bias=False),
        nn.GroupNorm(_GROUPS, first),
        nn.ReLU(),
        *(Block(first, first, 1), Block(first, second, 2), Block(second, third, 2)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(third, _CLASSES),
    )


def trained(images: Tensor, labels: Tensor, epochs: int, seed: int = 0) -> nn.Sequential:
    """Return the network trained on images (n, 3, 32, 32), shifted and flipped."""
    torch.manual_seed(seed)
    model = network().train()
    optimizer = torch.optim.AdamW(model.parameters(), _RATE, weight_decay=_DECAY)
    batches = -(-len(images) // _BATCH)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, epochs * batches)
    for _ in range(epochs):
        for chosen in torch.split(torch.randperm(len(images)), _BATCH):
            logits = model(_augmented(images[chosen]))
            loss = functional.cross_entropy(logits, labels[chosen], label_smoothing=_SMOOTHING)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            plan.step()
    return model.eval()


def _augmented(images: Tensor) -> Tensor:
    """Return images shifted by up to 4 pixels together, and each flipped or not."""
    dy, dx = (int(v) for v in torch.randint(0, 9, (2,)))
    side = images.shape[-1]
    shifted = functional.pad(images, (4,) * 4)[:, :, dy : dy + side, dx : dx + side]
    flipped = torch.rand(len(images), 1, 1, 1) < 0.5
    return torch.where(flipped, shifted.flip(3), shifted)


def main(argv: Sequence[str] | None = None) -> int:
    """Trains, writes the weights, and tells the error on the pictures that were skipped."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--data", required=True, type=Path, metavar="SET.npz")
    parser.add_argument("--skip", type=values.natural, default=600, help="pictures to test on")
    parser.add_argument("--most", type=values.count, default=4000, help="end of the pictures")
    parser.add_argument("--epochs", type=values.count, default=20)
    parser.add_argument("--out", required=True, type=Path, metavar="OUT.safetensors")
    arguments = parser.parse_args(argv)
    with open_npz(arguments.data, "expected images and labels") as arrays:
        pictures, labels = np.asarray(arrays["images"]), np.asarray(arrays["labels"])
    images = torch.from_numpy(InputSpec(**INPUT).normalise(pictures[: arguments.most]))  # type: ignore[arg-type]
    truth = torch.from_numpy(labels[: arguments.most].astype(np.int64))
    skip = arguments.skip
    model = trained(images[skip:], truth[skip:], arguments.epochs)
    write_whole(arguments.out, save(model.state_dict()))
    with torch.no_grad():
        error = float((model(images[:skip]).argmax(1) != truth[:skip]).float().mean())
    print(f"{arguments.out}: error {error:.1%} on the {skip} pictures that were skipped")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
