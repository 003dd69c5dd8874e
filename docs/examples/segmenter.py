"""A segmenter on a drive into fog: mean intersection over union, as trained and adapted.

    python segmenter.py

Drive and network are made here, in seconds, so that nothing has to be downloaded: sky, road and
cars in flat colours, and a small network that learns them in clear weather. The drive is in fog.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from edge_tta import Adapter

CLASSES = ("sky", "road", "car")
HEIGHT, WIDTH = 48, 64
_COLOURS = torch.tensor([[0.55, 0.75, 0.95], [0.35, 0.35, 0.38], [0.75, 0.15, 0.15]])


def scene(rng: np.random.Generator, fog: float) -> tuple[Tensor, Tensor]:
    """An image (1, 3, H, W) and its mask (1, H, W) of class numbers; fog in [0, 1]."""
    mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.long)
    horizon = int(rng.integers(16, 26))
    mask[horizon:] = 1
    for _ in range(int(rng.integers(1, 4))):
        top, left = int(rng.integers(horizon - 4, 34)), int(rng.integers(0, WIDTH - 14))
        mask[top : top + 9, left : left + 13] = 2
    texture = torch.from_numpy(rng.normal(0, 0.06, (HEIGHT, WIDTH, 3))).float()
    clear = _COLOURS[mask] + texture
    seen = (1 - fog) * clear + fog * 0.8
    return ((seen - 0.5) / 0.25).permute(2, 0, 1)[None], mask[None]


def trained(steps: int = 80) -> nn.Module:
    """A small segmenter, images (N, 3, H, W) -> logits (N, 3, H, W), of clear weather."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    layers: list[nn.Module] = []
    for width, following in ((3, 16), (16, 16), (16, 16)):
        layers += [nn.Conv2d(width, following, 3, padding=1), nn.BatchNorm2d(following), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Conv2d(16, len(CLASSES), 1))
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(steps):
        pairs = [scene(rng, fog=0.0) for _ in range(4)]
        images, masks = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        loss = nn.functional.cross_entropy(network(images), masks)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return network.eval()


def mean_iou(masks: list[Tensor], truths: list[Tensor]) -> float:
    """Mean over the classes of intersection over union, in [0, 1]."""
    found, truth = torch.cat(masks), torch.cat(truths)
    hits = [
        ((found == c) & (truth == c)).sum() / ((found == c) | (truth == c)).sum() for c in (0, 1, 2)
    ]
    return float(torch.stack(hits).mean())


def main() -> tuple[float, float]:
    adapter = Adapter(trained())
    rng = np.random.default_rng(1)
    truths, source, adapted = [], [], []
    for number in range(40):
        image, truth = scene(rng, fog=min(0.7, 0.1 * number))
        truths.append(truth)
        source.append(adapter.predict_source(image).argmax(1))
        adapted.append(adapter(image).argmax(1))  # predicts and adapts
    before, after = mean_iou(source, truths), mean_iou(adapted, truths)
    print(f"{adapter.task.name}: mIoU as trained {before:.2f}, adapted {after:.2f}")
    return before, after


if __name__ == "__main__":
    main()
