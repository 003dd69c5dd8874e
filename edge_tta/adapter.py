"""`Adapter`: a network that adapts itself, one batch at a time, over an engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_tta.bundle.folder import Bundle
from edge_tta.checkpoint import check_matches, check_tensors, load_state, save_state
from edge_tta.config import MethodConfig, with_host
from edge_tta.engines.base import BACKWARD, Engine, State, stepped
from edge_tta.engines.choosing import OfModules, engine_for, torch_module
from edge_tta.errors import ConfigError, ModelError, StateError
from edge_tta.prepare import Images, InputSpec
from edge_tta.tasks import Task, task_named

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edge_tta.network.source import SourceNetwork


class Adapter:
    """Predicts and adapts: `adapter(images) -> logits`, or what else the network returns.

    Owns the state, and nothing else that changes; the network given is not changed. A module is
    copied; its graph is captured at the first call, for that call's image shape.

    Args:
        model: a network with BatchNorm layers, of images (N, channels, H, W): a classifier
            (N, classes), a segmenter (N, classes, H, W), a detector, or anything else, with one
            output or several; a bundle's folder; an ONNX file; an engine (`edge_tta.engines`),
            which has its method and options; or the `engine.network` of another adapter.
        method: one of `edge_tta.config.METHODS`, or `nanoadapt:HOST`, which sets the host too. Of
            a bundle, a method that it holds.
        host: what NanoAdapt wraps, one of `edge_tta.config.HOSTS`; None: the task's, of a
            classifier `tent`, of others `norm`.
        preset: `edge`, `paper`, or a TOML file of `MethodConfig` tables; for `nanoadapt` only.
        device: `cpu`, `cuda` or `cuda:N`.
        input_spec: the network's normalisation, used by the colour augmentations of views.
        task: what a module's outputs mean, one of `edge_tta.tasks.TASKS` or a `Task`; None: what
            they look like. A detector, and outputs that look like nothing known, have no loss:
            NanoAdapt then calibrates alone.
        source_images: (M, channels, H, W), unlabelled, of the source domain, normalised: some
            hundred, on which the source statistics are measured (the function stays); an ONNX file
            gets back the BatchNorms that are folded away in it.
        options: `backward`, an `edge_tta.Backward`: what is kept in memory for the backward pass;
            and single fields of `MethodConfig` that win over the preset, by the names of
            `edge_tta.config.fields.PLACES`. Those from `preset` on are of modules alone.

    Raises:
        ConfigError: an unknown or impossible choice, or one that a bundle leaves no more.
        ModelError: now, or at the first call, if the network cannot be adapted.
        BundleError: a bundle that is damaged.

    Attributes:
        engine: what runs the network.
        changed: the state is another than when this was last set to False, as who saves it does.
    """

    def __init__(
        self,
        model: nn.Module | SourceNetwork | Engine | Bundle | str | Path,
        method: str = "nanoadapt",
        host: str | None = None,
        preset: str | Path = "edge",
        device: str = "cpu",
        *,
        input_spec: InputSpec | None = None,
        source_images: Tensor | Images | None = None,
        task: str | Task | None = None,
        **options: Any,
    ) -> None:
        task = task_named(task) if isinstance(task, str) else task
        backward = options.pop("backward", BACKWARD)
        of_modules = OfModules(device, input_spec, backward, source_images, task, options)
        self.engine = engine_for(model, with_host(method, host), preset, of_modules)
        self._preset = preset
        self._state: State = {}
        self._source: State = {}
        self._has_seen = self.changed = False

    def __repr__(self) -> str:
        return f"<Adapter {self.config.label}, {self.steps} steps, {self.updates} updates>"

    def __call__(self, images: Tensor | Images, *, learn: bool = True) -> Any:
        """Return logits (N, classes) of images (N, channels, H, W), adapting on the way.

        Tensors of PyTorch for a module, arrays of NumPy for a bundle. Networks that are no
        classifiers return what they return; tuples have become lists.

        Args:
            images: normalised as the network expects, any N from 1 (a bundle: 1); not changed.
            learn: False: calibrate the statistics only, without the backward pass.

        Raises:
            ValueError: another number of axes, no image, another shape than a bundle's, or NaN or
                infinity among the values; the state is as before.
            ModelError: the network cannot be captured.
            ConfigError: `fisher_weight` is set and `estimate_fisher` has not been called.
        """
        batch = self._prepared(images, finite=True)
        self._check_fisher(learn)
        logits, self._state = stepped(self.engine, batch, self._state, learn)
        self._has_seen = self.changed = True
        return logits

    def predict(self, images: Tensor | Images) -> Any:
        """Return logits (N, classes) of images, as in a call, at the present state."""
        return self.engine.predict(self._prepared(images), self._state)

    def predict_source(self, images: Tensor | Images) -> Any:
        """Return logits (N, classes) of images, as in a call, of the source network."""
        return self.engine.predict(self._prepared(images), self._source)

    def prepare(self, image_shape: tuple[int, ...]) -> int:
        """Load what images (channels, H, W) need, which else the first call does.

        The state outlives a change of shape. Returns the number of classes.

        Raises:
            ModelError: the network cannot be captured or holds nothing to adapt.
            ConfigError: a bundle is for images of another shape.
        """
        classes = self.engine.prepare(image_shape)
        if not self._source:
            self._source = self.engine.initial_state()
        if not self._state:
            self._state = dict(self._source)
        return classes

    def with_method(self, method: str, preset: str | Path | None = None) -> Adapter:
        """Return an adapter by another method on the same network, from the source.

        The preset (None), which layers adapt, views, precision and checkpointing are as here.

        Raises:
            ConfigError: an unknown method or preset, or one that a bundle does not hold.
        """
        preset = self._preset if preset is None else preset
        return Adapter(self.engine.with_method(method, preset), preset=preset)

    def fresh_copy(self) -> Adapter:
        """Return an adapter as this one, on the same network, from the source."""
        return Adapter(self.engine.with_config(self.config), preset=self._preset)

    def estimate_fisher(self, images: Tensor | Images, batch_size: int = 1) -> None:
        """Learn which parameters matter to the source, for eata's regulariser.

        The diagonal becomes part of the state and outlives a reset, since it is of the source.

        Args:
            images: (M, channels, H, W) of the source domain, unlabelled; EATA takes 2,000.
            batch_size: images whose mean gradient is squared. 1 is the paper's Eq. 9; its public
                code has 64, which makes the diagonal up to 64 times smaller.

        Raises:
            ValueError: as in a call, or batch_size < 1.
            ConfigError: `fisher_weight` is 0, so that nothing would come of it; or a bundle.
            ModelError: the network cannot be captured.
        """
        engine = torch_module().engine_of(self)
        if batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, got {batch_size}")
        batch = self._prepared(images, finite=True)
        self._state = {**self._state, "host.fisher": engine.fisher(batch, batch_size)}
        self.changed = self._has_seen

    @property
    def config(self) -> MethodConfig:
        """Configuration of the method."""
        return self.engine.config

    @property
    def task(self) -> Task | None:
        """What the outputs mean; None: not known before the first image."""
        return self.engine.task

    @property
    def input_spec(self) -> InputSpec:
        """Input that the network takes."""
        return self.engine.input_spec

    @property
    def state(self) -> State:
        """The state's tensors by name; see `edge_tta.method.state`. Empty before the first call."""
        return dict(self._state)

    @property
    def source_state(self) -> State:
        """The state's tensors before the first image; of the source is also the Fisher diagonal."""
        return {**self._source, **{n: v for n, v in self._state.items() if n == "host.fisher"}}

    @property
    def steps(self) -> int:
        """Steps since the source: batches of frames, at most 8 each with anchored calibration."""
        return self._counter("steps")

    @property
    def updates(self) -> int:
        """Optimizer steps since the source; a window of which no image counted makes none."""
        return self._counter("opt.applied" if "opt.applied" in self._state else "opt.updates")

    @property
    def position(self) -> int:
        """Gradients accumulated since the last optimizer step, below S."""
        return self._counter("opt.position")

    def drift(self) -> float:
        """Return |trained parameters - the source's| / |the source's|; 0 where none are trained."""
        if "opt.parameters" not in self._state:
            return 0.0
        parameters, source = (
            self.engine.to_arrays({"": state["opt.parameters"]})[""]
            for state in (self._state, self._source)
        )
        return float(np.linalg.norm(parameters - source) / np.linalg.norm(source))

    def reset(self) -> None:
        """Go back to the source: everything learned from the stream is forgotten."""
        self._state = self.source_state
        self.changed = self._has_seen

    def restore(self, state: State) -> None:
        """Continue from what `state` gave, exactly. Its tensors are not changed.

        Raises:
            StateError: the state of an adapter that had seen no image, or of another one.
        """
        if not self._state or state.keys() != self._state.keys():
            raise StateError("not a state of this adapter; expected what its `state` gave")
        self._state = dict(state)
        self._has_seen = self.changed = True

    def save(self, path: str | Path, state: State | None = None) -> None:
        """Write the state as a safetensors file, whole or not at all.

        state: what `state` gave at another time; None: the present one.

        Raises:
            OutputError: the file cannot be written.
            StateError: nothing to save, no image has been seen.
        """
        if not self._has_seen:
            raise StateError("nothing to save yet: the adapter has seen no image")
        state = state or self._state  # one, even where a thread sets the next
        steps = int(state["steps"])
        save_state(path, self.engine.to_arrays(state), self.engine.header(steps))

    def load(self, path: str | Path) -> None:
        """Continue from a saved state, exactly, whichever engine it was saved with.

        Captures the network if no image has been seen.

        Raises:
            StateError: missing, damaged, of another network, method or configuration; the
                adapter and the file stay as they are.
        """
        arrays, header = load_state(path)
        if header.source_sha256 == self.engine.header(0).source_sha256:
            try:
                self.prepare(self.engine.image_shape or header.image_shape)
            except ModelError as error:
                raise StateError(
                    f"{path} was saved for images {header.image_shape}, but {error}"
                ) from error
        check_matches(path, header, self.engine.header(0))
        check_tensors(path, arrays, self.engine.to_arrays(self._source))
        self._state = self.engine.from_arrays(arrays)
        self._has_seen = True

    def folded(self) -> nn.Module:
        """Return a plain module that adapts no more, with what was calibrated and learned put in.

        Raises:
            ConfigError: the adapter is a bundle's.
        """
        module: nn.Module = torch_module().engine_of(self).folded(self._state)
        return module

    def _prepared(self, images: Tensor | Images, *, finite: bool = False) -> Any:
        """Return the engine's batch, with what it needs loaded. finite: refuse NaN and infinity."""
        batch = self.engine.batch(images)
        if finite and not self.engine.is_finite(batch):
            raise ValueError("images hold NaN or infinity; expected finite values")
        self.prepare(tuple(batch.shape[1:]))
        return batch

    def _counter(self, name: str) -> int:
        return int(self._state[name]) if name in self._state else 0

    def _check_fisher(self, learn: bool) -> None:
        fisher = self._state.get("host.fisher") if learn else None
        if fisher is not None and not bool(fisher.any()):
            raise ConfigError(
                f"fisher_weight = {self.config.loss.fisher_weight:g} needs the Fisher diagonal; "
                "call estimate_fisher(source_images) first, or set fisher_weight = 0"
            )
