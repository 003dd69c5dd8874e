"""One peer of the measurement, in a process of its own: `python -m bench.bundle.peers NAME ...`.

It loads, answers a line of JSON, and then makes one step for each line that it reads.
"""

from __future__ import annotations

import json
import sys
import time

_STARTED_S = time.perf_counter()

from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

Step = Callable[[Any], object]
Shape = tuple[int, ...]


def frozen(folder: str, model: str, weights: str, threads: int) -> tuple[Step, Shape]:
    """The folded network by onnxruntime, with its defaults."""
    from edge_tta.bundle.runtime import quiet_runtime

    runtime = quiet_runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    path = str(Path(folder) / "frozen.onnx")
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    shape = tuple(session.get_inputs()[0].shape[1:])
    return lambda image: session.run(None, {"images": image}), shape


def bundle(folder: str, threads: int, profile: str, learn: bool) -> tuple[Step, Shape]:
    """A bundle that learns on every frame, or only observes."""
    from edge_tta.bundle.adapter import BundleAdapter

    from edge_tta.bundle.folder import Bundle

    adapter = BundleAdapter(Bundle(Path(folder) / "bundle", threads=threads, profile=profile))
    return lambda image: adapter(image, learn=learn), adapter.input_spec.shape


def stock(model: str, weights: str, threads: int, learns: bool) -> tuple[Step, Shape]:
    """PyTorch as it comes: a forward pass, or Tent (Wang et al., 2021) with autograd."""
    import torch

    from edge_tta.models import load_model

    torch.set_num_threads(threads)
    loaded = load_model(model, weights or None)
    network = loaded.module.requires_grad_(False)
    norms = [m for m in network.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    trained = [p for norm in norms for p in (norm.weight, norm.bias) if p is not None]

    def forward(image: Any) -> object:
        with torch.inference_mode():
            return network(torch.from_numpy(image))

    if not learns:
        return forward, loaded.input.shape
    for norm in norms:
        norm.train()
        norm.track_running_stats = False
        norm.running_mean = norm.running_var = None
    for parameter in trained:
        parameter.requires_grad_(True)
    optimizer = torch.optim.Adam(trained, lr=1e-3)

    def tent(image: Any) -> object:
        logits = network(torch.from_numpy(image))
        log_p = logits.log_softmax(1)
        loss = -(log_p.exp() * log_p).sum(1).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return logits.detach()

    return tent, loaded.input.shape


PEERS: dict[str, Callable[[str, str, str, int], tuple[Step, Shape]]] = {
    "frozen onnxruntime": frozen,
    "bundle observe": lambda folder, m, w, threads: bundle(folder, threads, "speed", False),
    "bundle learn": lambda folder, m, w, threads: bundle(folder, threads, "speed", True),
    "bundle learn, memory": lambda folder, m, w, threads: bundle(folder, threads, "memory", True),
    "torch forward": lambda folder, m, w, threads: stock(m, w, threads, False),
    "torch tent": lambda folder, m, w, threads: stock(m, w, threads, True),
}


def main() -> None:
    """Speaks lines of JSON with the process that started it."""
    name, folder, model, weights, threads = sys.argv[1:]
    step, shape = PEERS[name](folder, model, weights, int(threads))
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, *shape)).astype(np.float32)
    step(image)
    print(json.dumps({"start_s": time.perf_counter() - _STARTED_S}), flush=True)
    for _ in sys.stdin:
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        step(image)
        took = time.perf_counter() - wall_s, time.process_time() - cpu_s
        print(json.dumps({"wall_s": took[0], "cpu_s": took[1], "peak": _peak()}), flush=True)


def _peak() -> int | None:
    """Largest resident set of this process so far, in bytes; None where it cannot be told."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if "VmHWM" in line)


if __name__ == "__main__":
    main()
