"""Subjects on onnxruntime, without PyTorch: a bundle's graphs, or the folded network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bench.cost.case import Case, Work
from bench.cost.subjects import Subject
from bench.methods import prediction_of, predictor_of
from edge_tta.adapter import Adapter
from edge_tta.background import Background
from edge_tta.bundle.folder import Bundle
from edge_tta.bundle.runtime import quiet_runtime
from edge_tta.engines.onnx import OnnxEngine
from edge_tta.method.stages import OnStage, no_stage
from edge_tta.prepare import Images, InputSpec
from edge_tta.temporal import Filtered

FOLDED = "folded.onnx"
"""Name of the folded network in its folder."""


def load_runtime() -> None:
    """Imports onnxruntime, which is imported late elsewhere."""
    quiet_runtime()


class Maker:
    """Subjects of the graphs in a case's `place`.

    Args:
        model: has the fields of its input as `input`.
    """

    def __init__(self, model: Mapping[str, Any], threads: int | None) -> None:
        self._threads = threads
        given = model["input"]
        self.spec = InputSpec().changed(**given)

    def make(self, case: Case) -> Subject:
        folder = Path(str(case.place))
        if case.work is Work.FOLDED:
            return self._folded(folder / FOLDED, filtered=case.filtered)
        profile = "memory" if case.work is Work.LEARN_IN_LITTLE else "speed"
        bundle = Bundle(folder, threads=self._threads, profile=profile)
        observes = case.work in (Work.OBSERVE, Work.OBSERVE_INT8)
        learns = not (case.work.predicts or observes)
        adapter = Adapter(OnnxEngine(bundle, learns=learns))
        weights = folder / bundle.manifest.weights
        if case.work.predicts:
            return OnnxSubject(prediction_of(adapter, case.asked), weights, adapter)
        if case.work is Work.BESIDE:
            beside = Background(adapter)
            run, _ = predictor_of(beside, case.asked)
            return OnnxSubject(run, weights, beside, beside.wait)
        run, _ = predictor_of(adapter, case.asked)
        return OnnxSubject(partial(run, learn=False) if observes else run, weights, adapter)

    def _folded(self, path: Path, *, filtered: bool) -> Subject:
        runtime = quiet_runtime()
        chosen = runtime.SessionOptions()
        chosen.intra_op_num_threads = self._threads or 0
        chosen.log_severity_level = 3
        session = runtime.InferenceSession(str(path), chosen, providers=["CPUExecutionProvider"])
        folded = _Folded(session)
        return OnnxSubject(Filtered(folded, of_source=True) if filtered else folded, path)


class _Folded:
    """The folded network of a session, which predicts."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __call__(self, images: Images, *, learn: bool = True) -> Any:
        """Return the first output of images (N, channels, H, W)."""
        return self._session.run(None, {"images": images})[0]

    def reset(self) -> None:
        """There is nothing that changes."""


class OnnxSubject:
    """A call of onnxruntime, whose stages cannot be told apart.

    Args:
        adapter: behind it; None: there is none.
        wait: for what goes on beside.
    """

    def __init__(
        self,
        run: Callable[[Images], object],
        weights: Path,
        adapter: Adapter | None = None,
        wait: Callable[[], None] = lambda: None,
    ) -> None:
        self._run, self._weights, self._adapter, self._wait = run, weights, adapter, wait
        self._on_stage: OnStage = no_stage

    def listen(self, on_stage: OnStage) -> None:
        self._on_stage = on_stage

    def frame(self, image: Images) -> None:
        self._run(image)
        self._on_stage("whole step")

    def learned(self) -> int:
        self._wait()
        return 0 if self._adapter is None else self._adapter.steps

    def sizes(self, image: Images) -> dict[str, int]:
        held = {} if self._adapter is None else self._adapter.state
        state = sum(value.nbytes for value in held.values())
        return {"state_bytes": state, "weight_bytes": self._weights.stat().st_size}
