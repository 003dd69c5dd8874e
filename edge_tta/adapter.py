"""`Adapter`: a network that adapts itself, one batch at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edge_tta.checkpoint import (
    Arrays,
    Header,
    check_matches,
    check_tensors,
    load_state,
    save_state,
)
from edge_tta.config import SAVED, MethodConfig, make_config
from edge_tta.errors import ConfigError, ModelError, StateError
from edge_tta.method.fisher import fisher_diagonal
from edge_tta.method.state import State, parameter_layout
from edge_tta.method.step import Step
from edge_tta.method.updating import drift_of
from edge_tta.network import checkpointing
from edge_tta.network.frozen import FrozenNetwork
from edge_tta.prepare import Images, InputSpec
from edge_tta.views import make_views


class Adapter:
    """Predicts and adapts: `adapter(images) -> logits`.

    Holds a frozen copy of the network, the method's step, and the state; the network given is not
    changed. The graph is captured at the first call, for that call's image shape.

    Args:
        model: a classifier (N, channels, H, W) -> (N, classes) with BatchNorm layers; or the
            `network` of another adapter, whose frozen weights are then shared.
        method: one of `edge_tta.config.METHODS`; `nanoadapt:HOST` sets the host too.
        host: what NanoAdapt wraps, one of `edge_tta.config.HOSTS`.
        preset: `edge`, `paper`, or a TOML file of `MethodConfig` fields; for `nanoadapt` only.
        device: `cpu`, `cuda` or `cuda:N`.
        input_spec: the network's normalisation, used by the colour augmentations of views.
        saved: the precision of what waits for the backward pass, `float32`, `float16` (half the
            memory, gradients to about 1e-3) or `int8` (a quarter, about 1e-2); or `stock`: what
            PyTorch's autograd keeps by itself.
        activation_checkpointing: segments of the network at most, which save their input alone and,
            but for the last, run again in the backward pass: a number from 2, or `auto` (as many
            as leave least saved); less memory, more time, the same step. 0: none. Needs
            `gradient` constant and no `taylor`.
        options: single fields of `MethodConfig` that win over the preset.

    Raises:
        ConfigError: an unknown or impossible choice.
        ModelError: at the first call, if the network cannot be adapted.
    """

    def __init__(
        self,
        model: nn.Module | FrozenNetwork,
        method: str = "nanoadapt",
        host: str = "tent",
        preset: str | Path = "edge",
        device: str = "cpu",
        *,
        input_spec: InputSpec | None = None,
        saved: str = "float32",
        activation_checkpointing: int | str = 0,
        **options: Any,
    ) -> None:
        if saved not in SAVED:
            raise ConfigError(f"saved must be one of {', '.join(SAVED)}, got {saved!r}")
        self.saved = saved
        self.config: MethodConfig = make_config(method, host, preset, **options)
        trains = self.config.trains
        gradient, taylor = (
            (self.config.gradient, self.config.taylor) if trains else ("constant", "none")
        )
        checkpointing.check(activation_checkpointing, gradient=gradient, taylor=taylor)
        self.activation_checkpointing = activation_checkpointing if trains else 0
        self.network = (
            model if isinstance(model, FrozenNetwork) else FrozenNetwork(model, _device(device))
        )
        self.device = self.network.device
        self.input_spec = input_spec or InputSpec()
        self._step: Step | None = None
        self._shape: tuple[int, ...] = ()
        self._state: State = {}
        self._source: State = {}
        self._steps = self._position = self._updates = 0
        self._moved = self._lacks_fisher = False

    # Tensors made in inference mode cannot take part in a backward pass, now or later.
    @torch.inference_mode(False)
    def __call__(self, images: Tensor | Images, *, learn: bool = True) -> Tensor:
        """Logits (N, classes) of images (N, channels, H, W), adapting on the way.

        Args:
            images: normalised as the network expects, any N from 1; not changed.
            learn: False: calibrate the statistics only, without the backward pass.

        Raises:
            ValueError: another number of axes, no image, or NaN or infinity among the values;
                the state is as before.
            ModelError: the network cannot be captured.
            ConfigError: `fisher_weight` is set and `estimate_fisher` has not been called.
        """
        batch = _batch(images)
        if not bool(torch.isfinite(batch).all()):
            raise ValueError("images hold NaN or infinity; expected finite values")
        step = self.prepare(tuple(batch.shape[1:]))
        learn = learn and self.config.trains
        if learn and self._lacks_fisher:
            raise ConfigError(
                f"fisher_weight = {self.config.fisher_weight:g} needs the Fisher diagonal; call "
                "estimate_fisher(source_images) first, or set fisher_weight = 0"
            )
        views = self.config.views if learn else 0
        if views:
            rng = np.random.default_rng([self.config.seed, self._steps])
            batch = torch.from_numpy(make_views(batch.cpu().numpy(), views, self.input_spec, rng))
        run = step.learn if learn else step.observe
        logits, self._state = run(
            batch.to(self.device), self._state, views=1 + views, moved=self._moved
        )
        for _ in range(step.steps_of(len(batch), 1 + views)):
            self._count(learn)
        return logits

    def predict(self, image: Tensor | Images, *, learn: bool = True) -> Images:
        """Logits (classes,) of one image (1, channels, H, W) as an array; as a call."""
        logits: Images = self(image, learn=learn)[0].float().cpu().numpy()
        return logits

    def beside(self, method: str, preset: str | Path = "edge") -> Adapter:
        """An adapter by another method on the same frozen weights, from the source."""
        return Adapter(
            self.network, method, preset=preset, input_spec=self.input_spec, saved=self.saved
        )

    def beside_itself(self) -> Adapter:
        """An adapter as this one, from the source."""
        fields = self.config.as_dict()
        method, host = fields.pop("method"), fields.pop("host")
        return Adapter(
            self.network,
            method,
            host,
            input_spec=self.input_spec,
            saved=self.saved,
            activation_checkpointing=self.activation_checkpointing,
            **fields,
        )

    @torch.inference_mode(False)
    def prepare(self, image_shape: tuple[int, ...]) -> Step:
        """Captures the network for images (channels, H, W), which else the first call does.

        The state outlives a change of shape. Returns the step that will run.

        Raises:
            ModelError: the network cannot be captured or holds nothing to adapt.
        """
        if self._step is None or image_shape != self._shape:
            step = self._made(image_shape)
            if self._step is None:
                self._state = step.initial_state()
                self._read_counters()
            self._step, self._shape = step, image_shape
        return self._step

    @torch.inference_mode(False)
    def estimate_fisher(self, images: Tensor | Images, batch_size: int = 1) -> None:
        """Learns which parameters matter to the source, for eata's regulariser.

        The diagonal becomes part of the state and outlives a reset, since it is of the source.

        Args:
            images: (M, channels, H, W) of the source domain, unlabelled; EATA takes 2,000.
            batch_size: images whose mean gradient is squared. 1 is the paper's Eq. 9; its public
                code has 64, which makes the diagonal up to 64 times smaller.

        Raises:
            ValueError: as in a call, or batch_size < 1.
            ConfigError: `fisher_weight` is 0, so that nothing would come of it.
            ModelError: the network cannot be captured.
        """
        if self.config.fisher_weight == 0:
            raise ConfigError("the Fisher diagonal is unused: set fisher_weight above 0")
        if batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, got {batch_size}")
        batch = _batch(images)
        if not bool(torch.isfinite(batch).all()):
            raise ValueError("images hold NaN or infinity; expected finite values")
        step = self.prepare(tuple(batch.shape[1:]))
        found = fisher_diagonal(step, batch.to(self.device), batch_size)
        if not bool(torch.isfinite(found).all() & (found > 0).any()):
            raise ValueError(
                "the images give no gradients, or none that are finite; expected images of the "
                "source domain, normalised as the network expects"
            )
        self._state = {**self._state, "fisher": found}
        self._read_counters()

    @property
    def state(self) -> State:
        """The state's tensors by name; see `edge_tta.method.state`. Empty before the first call."""
        return dict(self._state)

    @property
    def steps(self) -> int:
        """Steps since the source: batches of frames, of 8 at most with anchored calibration."""
        return self._steps

    @property
    def updates(self) -> int:
        """Completed windows of `config.accumulation` gradients since the source: optimizer steps,
        but where a host left every image of a window out."""
        return self._updates

    @property
    def position(self) -> int:
        """Gradients accumulated since the last optimizer step, below `config.accumulation`."""
        return self._position

    def reset(self) -> None:
        """Back to the source: everything learned from the stream is forgotten."""
        of_source = {name: self._state[name] for name in ("fisher",) if name in self._state}
        self._state = {} if self._step is None else {**self._step.initial_state(), **of_source}
        self._read_counters()

    def save(self, path: str | Path) -> None:
        """Writes the state as a safetensors file, whole or not at all.

        Raises:
            OutputError: the file cannot be written.
            StateError: nothing to save, no image has been seen.
        """
        if self._step is None:
            raise StateError("nothing to save yet: the adapter has seen no image")
        arrays = {name: value.cpu().numpy() for name, value in self._state.items()}
        save_state(path, arrays, self.header())

    @torch.inference_mode(False)
    def load(self, path: str | Path) -> None:
        """Continues from a saved state, exactly. Captures the network if no image has been seen.

        Raises:
            StateError: missing, damaged, of another network, method or configuration; the
                adapter and the file stay as they are.
        """
        arrays, header = load_state(path)
        check_matches(path, header, self.header())
        shape = self._shape or header.image_shape
        try:
            step = self._step or self._made(shape)
        except ModelError as error:
            raise StateError(f"{path} was saved for images {shape}, but {error}") from error
        state = _fitted(path, arrays, step.initial_state())
        self._step, self._shape, self._state = step, shape, state
        self._read_counters()

    def frozen_logits(self, images: Tensor | Images) -> Tensor:
        """Logits with the present statistics and parameters; the state stays as it is.

        images: as in a call.
        """
        batch = _batch(images)
        step = self.prepare(tuple(batch.shape[1:]))
        return step.frozen_logits(batch.to(self.device), self._state)

    def source_logits(self, images: Tensor | Images) -> Tensor:
        """Logits of the source network, as if nothing had been learned; nothing changes.

        images: as in a call.
        """
        batch = _batch(images)
        step = self.prepare(tuple(batch.shape[1:]))
        if not self._source:
            self._source = step.initial_state()
        return step.frozen_logits(batch.to(self.device), self._source)

    def drift(self) -> float:
        """|trained parameters - the source's| / |the source's|; 0 where none are trained."""
        if self._step is None or "parameters" not in self._state:
            return 0.0
        return drift_of(self._state["parameters"], self._step.source_parameters())

    def restore(self, state: State) -> None:
        """Continues from what `state` gave, exactly. Its tensors are not changed.

        Raises:
            StateError: the state of an adapter that had seen no image, or of another one.
        """
        if self._step is None or state.keys() != self._state.keys():
            raise StateError("not a state of this adapter; expected what its `state` gave")
        self._state = dict(state)
        self._read_counters()

    @torch.inference_mode(False)
    def folded(self) -> nn.Module:
        """A copy of the network with the calibrated statistics and learned parameters put in.

        It is a plain module in evaluation mode that adapts no more.
        """
        model = self.network.copy()
        if self._step is None:
            return model
        step = self._step
        tensors: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
        tensors |= model.named_buffers(remove_duplicate=False)
        statistics = step.statistics(self._state)
        with torch.no_grad():
            for layer in step.program.layers:
                mean, variance = statistics[layer.name]
                tensors[layer.mean_name].copy_(mean)
                tensors[layer.variance_name].copy_(variance)
            if "parameters" in self._state:
                for name, value in step.parameters.split(self._state["parameters"]).items():
                    tensors[name].copy_(value)
        return model

    def header(self) -> Header:
        """Whose state it is, for files."""
        layout: dict[str, Any] = {}
        if self._step is not None:
            for key, part in (("layers", self._step.layers), ("parameters", self._step.parameters)):
                layout[key] = [list(pair) for pair in zip(part.names, part.shapes, strict=True)]
        config = self.config.as_dict()
        return Header(self.network.fingerprint, config, layout, self._shape, self._steps)

    def _made(self, image_shape: tuple[int, ...]) -> Step:
        """The step for images (channels, H, W)."""
        program = self.network.program(image_shape, self.saved, self.config.folded_below)
        if self.activation_checkpointing:
            trained = parameter_layout(program, self.config).names
            segments = self.activation_checkpointing
            program = checkpointing.checkpointed(program, image_shape, trained, segments)
        return Step(program, self.config)

    def _read_counters(self) -> None:
        """Mirrors the state's counters, so that no call waits for a device."""
        self._steps = int(self._state["steps"]) if self._state else 0
        self._position = int(self._state["position"]) if "position" in self._state else 0
        self._updates = int(self._state["updates"]) if "updates" in self._state else 0
        fisher = self._state.get("fisher")
        self._lacks_fisher = fisher is not None and not bool(fisher.any())
        self._moved = "change" in self._state and bool((self._state["change"] != 0).any())

    def _count(self, learned: bool) -> None:
        self._steps += 1
        self._moved = False
        if learned:
            self._position = (self._position + 1) % self.config.accumulation
            self._moved = self._position == 0
            self._updates += self._moved


def _batch(images: Tensor | Images) -> Tensor:
    """Images (N, channels, H, W) as float32, without a graph, whatever they lie in.

    Raises ValueError for another number of axes or no image.
    """
    if isinstance(images, Tensor):
        batch = images.detach().to(torch.float32)
        batch = batch.clone() if batch.is_inference() else batch
    else:
        # A copy: PyTorch cannot take read-only arrays or negative strides.
        with np.errstate(over="ignore"):
            batch = torch.from_numpy(np.array(images, dtype=np.float32, order="C"))
    if batch.ndim != 4 or not len(batch):
        raise ValueError(f"images must be (N, channels, H, W), N >= 1, got {tuple(batch.shape)}")
    return batch


def _fitted(path: str | Path, arrays: Arrays, fresh: State) -> State:
    """Loaded arrays as a state like `fresh`. Raises StateError where they differ in shape."""
    check_tensors(path, arrays, {name: value.cpu().numpy() for name, value in fresh.items()})
    return {name: torch.from_numpy(arrays[name]).to(like.device) for name, like in fresh.items()}


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"unknown device {name!r}; expected cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device {name!r} is not supported; expected cpu, cuda or cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "no CUDA device is available to PyTorch; use --device cpu, or install a CUDA build of "
            "PyTorch and check nvidia-smi"
        )
    return device
