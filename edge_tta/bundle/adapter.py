"""`BundleAdapter`: a bundle that predicts and adapts, one frame at a time, without PyTorch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edge_tta.bundle.folder import Bundle
from edge_tta.checkpoint import Arrays, Header, check_matches, check_tensors, load_state, save_state
from edge_tta.config import MethodConfig
from edge_tta.errors import BundleError, ConfigError, StateError
from edge_tta.prepare import Images, InputSpec
from edge_tta.views import make_views

_NEW = "new."


class BundleAdapter:
    """What `edge_tta.Adapter` is, over the graphs of a bundle.

    States of both are the same files. Sessions are loaded at their first use.

    Args:
        bundle: a folder, or the `network` of another adapter, which is then shared.
        method: label of one of the bundle's methods, as `nanoadapt:tent`; None: its first.

    Raises:
        BundleError: the bundle is damaged.
        ConfigError: it does not hold the method.
    """

    def __init__(self, bundle: Bundle | str | Path, method: str | None = None) -> None:
        self.network = bundle if isinstance(bundle, Bundle) else Bundle(bundle)
        manifest = self.network.manifest
        label = method if method is not None else next(iter(manifest.methods))
        if label not in manifest.methods:
            raise ConfigError(
                f"the bundle {self.network.folder} holds {', '.join(manifest.methods)}, not "
                f"{label}; choose one of these, or export a bundle with it"
            )
        self._record = manifest.methods[label]
        self._source, self._of_source = self.network.source_state(label)
        try:
            self.config = MethodConfig(**self._of_source.config)
        except TypeError as error:
            raise BundleError(
                f"{self.network.folder} was made by another version of edge_tta ({error}); export "
                "it again"
            ) from error
        self.input_spec: InputSpec = manifest.input
        self.labels = manifest.labels
        self._state: Arrays = dict(self._source)
        self._sessions: dict[str, _Graph] = {}
        self._steps = self._position = self._updates = 0
        self._began = False

    def __call__(self, images: Images, *, learn: bool = True) -> Images:
        """Logits (1, classes) of one image (1, channels, H, W), adapting on the way.

        Args:
            images: float32, normalised as `input_spec` says; not changed.
            learn: False: calibrate the statistics only, without the backward pass.

        Raises:
            ValueError: another shape than the bundle's, or NaN or infinity among the values; the
                state is as before.
            BundleError: onnxruntime refuses the graph.
        """
        batch = self._batch(images)
        if not np.isfinite(batch).all():
            raise ValueError("images hold NaN or infinity; expected finite values")
        learn = learn and self.config.trains
        if learn and self.config.views:
            rng = np.random.default_rng([self.config.seed, self._steps])
            batch = make_views(batch, self.config.views, self.input_spec, rng)
        logits, new = self._graph("learn" if learn else "observe").run(batch, self._state)
        self._state = {**self._state, **new}
        self._steps += 1
        self._began = True
        if learn:
            self._position = (self._position + 1) % self.config.accumulation
            self._updates += self._position == 0
        return logits

    def predict(self, image: Images, *, learn: bool = True) -> Images:
        """Logits (classes,) of one image; as a call."""
        logits: Images = self(image, learn=learn)[0]
        return logits

    def prepare(self, image_shape: tuple[int, ...]) -> int:
        """Loads what the first call needs. Returns the number of classes.

        Raises:
            ConfigError: the bundle is for images of another shape.
        """
        manifest = self.network.manifest
        if tuple(image_shape) != manifest.image_shape:
            raise ConfigError(
                f"the bundle is for images {manifest.image_shape}, got {tuple(image_shape)}; "
                "leave --size out, or export a bundle of that size"
            )
        self._graph("learn" if self.config.trains else "observe")
        return manifest.classes

    def frozen_logits(self, images: Images) -> Images:
        """Logits (1, classes) with the present statistics and parameters; the state stays as it is.

        images: as in a call.
        """
        return self._graph("frozen").run(self._batch(images), self._state)[0]

    def source_logits(self, images: Images) -> Images:
        """Logits (1, classes) of the source network, as if nothing had been learned.

        images: as in a call.
        """
        return self._graph("frozen").run(self._batch(images), self._source)[0]

    def drift(self) -> float:
        """|trained parameters - the source's| / |the source's|; 0 where none are trained."""
        if "parameters" not in self._state:
            return 0.0
        source = self._source["parameters"]
        moved = np.linalg.norm(self._state["parameters"] - source)
        return float(moved / np.linalg.norm(source))

    def beside(self, method: str) -> BundleAdapter:
        """Another method of the same bundle, from the source."""
        return BundleAdapter(self.network, method)

    @property
    def state(self) -> Arrays:
        """The state's tensors by name; see `edge_tta.method.state`."""
        return dict(self._state)

    def restore(self, state: Arrays) -> None:
        """Continues from what `state` gave, exactly. Its tensors are not changed.

        Raises:
            StateError: the state of another adapter.
        """
        if state.keys() != self._source.keys():
            raise StateError("not a state of this adapter; expected what its `state` gave")
        self._state = dict(state)
        self._read_counters()

    @property
    def steps(self) -> int:
        """Frames seen since the source."""
        return self._steps

    @property
    def updates(self) -> int:
        """Completed windows of `config.accumulation` gradients since the source."""
        return self._updates

    @property
    def position(self) -> int:
        """Gradients accumulated since the last optimizer step, below `config.accumulation`."""
        return self._position

    def reset(self) -> None:
        """Back to the source: everything learned from the stream is forgotten."""
        self._state = dict(self._source)
        self._read_counters()

    def save(self, path: str | Path) -> None:
        """Writes the state as a safetensors file, whole or not at all.

        Raises:
            OutputError: the file cannot be written.
            StateError: nothing to save, no image has been seen.
        """
        if not self._began:
            raise StateError("nothing to save yet: the adapter has seen no image")
        save_state(path, self._state, self._header())

    def load(self, path: str | Path) -> None:
        """Continues from a saved state, exactly; also from one of the torch executor.

        Raises:
            StateError: missing, damaged, of another network, method or configuration; the
                adapter and the file stay as they are.
        """
        arrays, header = load_state(path)
        check_matches(path, header, self._of_source)
        check_tensors(path, arrays, self._source)
        self._state = arrays
        self._began = True
        self._read_counters()

    def _header(self) -> Header:
        return replace(self._of_source, steps=self._steps)

    def _read_counters(self) -> None:
        self._steps = int(self._state["steps"])
        self._position = int(self._state.get("position", 0))
        self._updates = int(self._state.get("updates", 0))

    def _batch(self, images: Images) -> Images:
        """Images as the graphs take them."""
        batch = np.ascontiguousarray(images, np.float32)
        expected = (1, *self.network.manifest.image_shape)
        if batch.shape != expected:
            raise ValueError(f"images must be {expected} for this bundle, got {batch.shape}")
        return batch

    def _graph(self, kind: Literal["observe", "learn", "frozen"]) -> _Graph:
        record = self._record
        name = {"frozen": record.frozen, "learn": record.learn}.get(kind) or record.observe
        if kind == "learn" and self.network.profile == "memory":
            name = record.compact or name
        if name not in self._sessions:
            self._sessions[name] = _Graph(self.network, name, self._source)
        return self._sessions[name]


class _Graph:
    """One graph as a function of images and state.

    Raises BundleError where its inputs and outputs are not those of the state.
    """

    def __init__(self, bundle: Bundle, name: str, source: Arrays) -> None:
        self._session: Any = bundle.session(name)
        self._inputs = [item.name for item in self._session.get_inputs() if item.name != "images"]
        self._outputs = [item.name for item in self._session.get_outputs()]
        new = {output.removeprefix(_NEW) for output in self._outputs[1:]}
        if self._outputs[:1] != ["logits"] or not (new | set(self._inputs)) <= set(source):
            raise BundleError(
                f"{bundle.folder / name} has other inputs and outputs than its state; export the "
                "bundle again"
            )

    def run(self, images: Images, state: Arrays) -> tuple[Images, Arrays]:
        """Logits, and the tensors of the state that have changed."""
        given = {name: state[name] for name in self._inputs}
        found = self._session.run(self._outputs, {"images": images, **given})
        logits, *values = found
        names = (name.removeprefix(_NEW) for name in self._outputs[1:])
        return logits, dict(zip(names, values, strict=True))
