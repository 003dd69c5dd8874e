"""Trains the demo network on clean renders: `python -m tests.demo.training --out FILE --seed 0`.

No adverse condition and no noise or blur is shown in training: only the pose, size, light and
roadside that `signs.render` varies. What the network cannot do in fog is therefore honest. The
package has the weights in the demo's bundle: `edge-tta export bundle --model demo --weights FILE
--with source,norm --out edge_tta/demo/bundle`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import save
from torch import nn

from edge_tta.demo.network import RoadSignNet
from edge_tta.demo.spec import INPUT
from edge_tta.demo.stream import clean_set
from edge_tta.errors import EdgeTTAError, OutputError
from edge_tta.files import write_whole
from edge_tta.prepare import resize

_CHUNK = 240  # frames rendered at a time: full-size frames of a whole set would not fit in memory
_BATCH = 96
_PEAK_RATE = 4e-3
_TRAINING, _HELD_OUT = 101, 102  # seeds of the two sets


def _render(
    count: int, seed: tuple[int, int], advance: Callable[[int], None]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """`count` shrunken clean frames, uint8 (count, 64, 64, 3), and their labels."""
    frames, labels = [], []
    for start in range(0, count, _CHUNK):
        full, truth = clean_set(min(_CHUNK, count - start), (*seed, start))
        frames.append(np.stack([resize(frame, INPUT.size) for frame in full]))
        labels.append(truth)
        advance(len(full))
    return np.concatenate(frames), np.concatenate(labels)


def accuracy(network: nn.Module, small: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
    """Part of the shrunken frames, uint8 (n, 64, 64, 3), that is recognised; in [0, 1]."""
    network.eval()
    hits = 0
    with torch.inference_mode():
        for start in range(0, len(labels), 250):
            part = slice(start, start + 250)
            guess = network(torch.from_numpy(INPUT.normalise(small[part]))).argmax(1).numpy()
            hits += int((guess == labels[part]).sum())
    return hits / len(labels)


def train(
    small: NDArray[np.uint8],
    labels: NDArray[np.int64],
    epochs: int,
    seed: int,
    advance: Callable[[int], None],
) -> RoadSignNet:
    """Cross-entropy, AdamW, one cycle of the learning rate; calls `advance` after each batch."""
    torch.manual_seed(seed)
    order = np.random.default_rng(seed)
    network = RoadSignNet()
    optimizer = torch.optim.AdamW(network.parameters(), lr=_PEAK_RATE, weight_decay=0.02)
    batches = len(labels) // _BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, _PEAK_RATE, total_steps=epochs * batches, pct_start=0.25
    )
    for _ in range(epochs):
        network.train()
        shuffled = order.permutation(len(labels))
        for batch in range(batches):
            chosen = shuffled[batch * _BATCH : (batch + 1) * _BATCH]
            logits = network(torch.from_numpy(INPUT.normalise(small[chosen])))
            loss = nn.functional.cross_entropy(logits, torch.from_numpy(labels[chosen]))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            advance(1)
    return network.eval()


def main(arguments: list[str] | None = None) -> int:
    """Renders, trains, measures and writes; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo.training", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="file for the weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, default=9600, help="clean training frames")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    if options.frames < _BATCH or options.epochs < 1 or options.threads < 1:
        parser.error(f"--frames must be at least {_BATCH}, --epochs and --threads at least 1")
    if options.seed < 0:
        parser.error(f"--seed must not be negative, got {options.seed}")
    if not options.out.absolute().parent.is_dir():
        # Found now, not after minutes of training.
        raise OutputError(f"no folder {options.out.parent} for --out; create it first")
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        held_out = max(1, options.frames // 8)
        rendering = progress.add_task("rendering", total=options.frames + held_out)
        steps = progress.add_task("training", total=options.epochs * (options.frames // _BATCH))

        def rendered(count: int) -> None:
            progress.advance(rendering, count)

        small, labels = _render(options.frames, (options.seed, _TRAINING), rendered)
        unseen, truth = _render(held_out, (options.seed, _HELD_OUT), rendered)
        network = train(
            small, labels, options.epochs, options.seed, lambda n: progress.advance(steps, n)
        )
    console.print(f"clean held-out accuracy {accuracy(network, unseen, truth):.2%}")
    # Counters of batches are no part of the network, and its graph has none.
    weights = {name: t for name, t in network.state_dict().items() if t.is_floating_point()}
    write_whole(options.out, save(weights))
    console.print(f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EdgeTTAError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
