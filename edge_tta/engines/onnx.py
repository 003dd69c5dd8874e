"""The engine of bundles: the step's graphs, run by onnxruntime, without PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from edge_tta import nest
from edge_tta.bundle.folder import Bundle
from edge_tta.bundle.folding import UnsuitableError
from edge_tta.bundle.manifest import NEW, REMEDY, output_names
from edge_tta.bundle.runtime import usable_cores
from edge_tta.checkpoint import Arrays, Header
from edge_tta.config import MethodConfig
from edge_tta.config.fields import from_dict
from edge_tta.engines.folded import FoldedNetwork
from edge_tta.errors import BundleError, ConfigError
from edge_tta.prepare import Images, InputSpec
from edge_tta.tasks import Task
from edge_tta.views import make_views

Answer = TypeVar("Answer")


class OnnxEngine:
    """One method of a bundle. Sessions are loaded at their first use.

    Args:
        bundle: a folder, or an opened bundle, which several engines may share.
        method: label of one of its methods, as `nanoadapt:tent`, or the part before the colon;
            None: its first.

        learns: load the graph that learns when it is prepared.
        int8: predict and observe in int8 where the bundle has graphs for it; False: in float32.

    Attributes:
        not_folded: why predictions and observations run by graphs that take the state as input,
            which is slower; "": they do not.

    Raises:
        BundleError: the bundle is damaged.
        ConfigError: it does not hold the method.
    """

    def __init__(
        self,
        bundle: Bundle | str | Path,
        method: str | None = None,
        *,
        learns: bool = True,
        int8: bool = True,
    ) -> None:
        self.network = bundle if isinstance(bundle, Bundle) else Bundle(bundle)
        manifest = self.network.manifest
        fits = (
            label for label in manifest.methods if method in (None, label, label.partition(":")[0])
        )
        label = next(fits, str(method))
        if label not in manifest.methods:
            raise ConfigError(
                f"the bundle {self.network.folder} holds {', '.join(manifest.methods)}, not "
                f"{label}; choose one of these, or export a bundle with it"
            )
        self._record = manifest.methods[label]
        self._source, self._header = self.network.source_state(label)
        try:
            self.config: MethodConfig = from_dict(self._header.config)
        except (KeyError, TypeError) as error:
            raise BundleError(
                f"{self.network.folder} was made by another version of edge_tta ({error}); export "
                "it again"
            ) from error
        self.task: Task | None = self.network.task
        self.input_spec: InputSpec = manifest.input
        self.image_shape: tuple[int, ...] = manifest.image_shape
        self._graphs: dict[str, _Graph] = {}
        self._folded: FoldedNetwork | None = None
        self._learns, self._spare, self._int8 = learns, False, int8
        self.not_folded = ""
        if self._record.folded is None:
            self.not_folded = "the bundle is of an earlier version, or its layers cannot be folded"
        elif self._record.folded.int8:
            self.not_folded = "" if int8 else "int8 was left aside"
        elif self.network.profile == "memory":
            self.not_folded = "the profile memory keeps each weight once"

    def prepare(self, image_shape: tuple[int, ...]) -> int:
        """Load what the first call needs; return the number of classes.

        Raises:
            ConfigError: the bundle is for images of another shape.
        """
        manifest = self.network.manifest
        if tuple(image_shape) != manifest.image_shape:
            raise ConfigError(
                f"the bundle is for images {manifest.image_shape}, got {tuple(image_shape)}; "
                "leave --size out, or export a bundle of that size"
            )
        if self._learns and self.config.trains:
            self._graph("learn")
        elif self._learns and not (self._observes_folded or self._only_counts):
            self._graph("observe")
        else:
            observing = self._learns and not self._only_counts
            self._folding(lambda folded: folded.load(observing=observing, spare=self._spare))
        if self.not_folded and not self._graphs:
            self._graph("observe" if self._learns else "predict")
        return manifest.classes

    def batch(self, images: Any) -> Images:
        """Return the image as the graphs take it. Raises ValueError for another shape."""
        batch = np.ascontiguousarray(images, np.float32)
        expected = (1, *self.network.manifest.image_shape)
        if batch.shape != expected:
            raise ValueError(f"images must be {expected} for this bundle, got {batch.shape}")
        return batch

    def with_views(self, batch: Images, count: int, rng: np.random.Generator) -> Images:
        """Return the frame followed by views of it, (1 + count, channels, H, W)."""
        return make_views(batch, count, self.input_spec, rng)

    def is_finite(self, batch: Images) -> bool:
        """Return True where no value is NaN or infinite."""
        return bool(np.isfinite(batch).all())

    def initial_state(self) -> Arrays:
        """Return the state before the first frame."""
        return dict(self._source)

    def observe(self, batch: Images, state: Arrays) -> tuple[Any, Arrays]:
        """Return outputs and new state; see `edge_tta.method.step`."""
        if self._observes_folded:
            done = self._folding(lambda folded: folded.observe(batch, state))
            if done is not None:
                return done
        elif self._only_counts:
            outputs = self._folding(lambda folded: folded.predict(batch, state))
            if outputs is not None:
                return outputs, {**state, "steps": np.asarray(state["steps"] + 1)}
        return self._graph("observe").run(batch, state)

    def learn(self, batch: Images, state: Arrays, views: int) -> tuple[Any, Arrays]:
        """Return outputs and new state; the number of views is the graph's."""
        return self._graph("learn").run(batch, state)

    def predict(self, batch: Images, state: Arrays) -> Any:
        """Return outputs at a state."""
        outputs = self._folding(lambda folded: folded.predict(batch, state))
        return self._graph("predict").run(batch, state)[0] if outputs is None else outputs

    def ready(self, state: Arrays) -> None:
        """Fold a state into a network that does not predict at the moment."""
        self._folding(lambda folded: folded.ready(state))

    def pair(self) -> tuple[OnnxEngine, OnnxEngine]:
        """Return two engines: one loads no graph that learns, the other has one thread.

        Unless threads were chosen, predictions leave one core to what is learned.
        """
        label, threads = self.config.label, self.network.threads
        predicting = self.network.with_threads(threads or max(1, usable_cores() - 1))
        learning = self.network.with_threads(threads or 1)
        engines = (
            OnnxEngine(predicting, label, learns=False, int8=self._int8),
            OnnxEngine(learning, label, int8=self._int8),
        )
        engines[0]._spare = True
        for engine in engines:
            engine._source = self._source  # by which the source's state is known
        return engines

    def to_arrays(self, state: Arrays) -> Arrays:
        """Return the state."""
        return state

    def from_arrays(self, arrays: Arrays) -> Arrays:
        """Return the arrays."""
        return arrays

    def header(self, steps: int) -> Header:
        """Return whose states these are."""
        return replace(self._header, steps=steps)

    def with_config(self, config: MethodConfig) -> OnnxEngine:
        """Return an engine of the method of the bundle that has this configuration.

        Raises:
            ConfigError: the bundle does not hold it.
        """
        engine = OnnxEngine(self.network, config.label, int8=self._int8)
        if engine.config != config:
            raise ConfigError(
                f"the bundle {self.network.folder} holds {config.label} with other options; "
                "export a bundle with these"
            )
        return engine

    def with_method(self, method: str, preset: str | Path) -> OnnxEngine:
        """Return an engine of another method of the bundle; its preset is the bundle's."""
        return OnnxEngine(self.network, method, int8=self._int8)

    @property
    def _only_counts(self) -> bool:
        """Whether an observation changes the number of frames alone, as of the source."""
        return self._record.predict == self._record.observe

    @property
    def _observes_folded(self) -> bool:
        """Whether the bundle has graphs to observe a frame by folding."""
        folded = self._record.folded
        return folded is not None and folded.calibrate is not None

    def _folding(self, run: Callable[[FoldedNetwork], Answer]) -> Answer | None:
        """Return what is faster than the graphs of predict and observe; None: not here."""
        if self.not_folded:
            return None
        assert self._record.folded is not None
        try:
            if self._folded is None:
                self._folded = FoldedNetwork(self.network, self._record.folded, self._source)
            return run(self._folded)
        except UnsuitableError as error:
            self.not_folded, self._folded = str(error), None
            return None

    def _graph(self, kind: Literal["observe", "learn", "predict"]) -> _Graph:
        record = self._record
        name = {"predict": record.predict, "learn": record.learn, "observe": record.observe}[kind]
        if kind == "learn" and self.network.profile == "memory":
            name = record.compact or name
        if name is None:
            raise BundleError(f"{self.network.folder} names no graph that learns; {REMEDY}")
        if name not in self._graphs:
            self._graphs[name] = _Graph(self.network, name, self._source)
        return self._graphs[name]


class _Graph:
    """One graph as a function of images and state.

    Raises BundleError where its inputs and outputs are not those of the state.
    """

    def __init__(self, bundle: Bundle, name: str, source: Arrays) -> None:
        self._session: Any = bundle.session(name)
        self._inputs = [item.name for item in self._session.get_inputs() if item.name != "images"]
        self._names = [item.name for item in self._session.get_outputs()]
        self._form = bundle.manifest.form
        answers = output_names(self._form)
        self._count = len(answers)
        new = {output.removeprefix(NEW) for output in self._names[self._count :]}
        expected = self._names[: self._count] == answers
        if not expected or not (new | set(self._inputs)) <= set(source):
            raise BundleError(
                f"{bundle.folder / name} has other inputs and outputs than its state; export the "
                "bundle again"
            )

    def run(self, images: Images, state: Arrays) -> tuple[Any, Arrays]:
        """Return the outputs and the new state; what no output names stays as it is."""
        given = {name: state[name] for name in self._inputs}
        values = self._session.run(self._names, {"images": images, **given})
        names = (name.removeprefix(NEW) for name in self._names[self._count :])
        new = dict(zip(names, values[self._count :], strict=True))
        return nest.built(self._form, values[: self._count]), {**state, **new}
