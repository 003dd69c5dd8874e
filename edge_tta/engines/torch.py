"""The engine of PyTorch's modules, on a CPU or a CUDA device."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from edge_tta.checkpoint import Arrays, Header
from edge_tta.config import MethodConfig, affine_only, calibrating, make_config, with_fields
from edge_tta.config.fields import to_fields
from edge_tta.engines.base import BACKWARD, Backward
from edge_tta.engines.recorded import RecordedStep
from edge_tta.errors import ConfigError
from edge_tta.method.fisher import fisher_diagonal
from edge_tta.method.state import State, layer_layout
from edge_tta.method.step import Step
from edge_tta.network import checkpointing
from edge_tta.network.program import Program
from edge_tta.network.source import SourceNetwork
from edge_tta.prepare import InputSpec
from edge_tta.tasks import Task
from edge_tta.views import make_views

if TYPE_CHECKING:
    from edge_tta.adapter import Adapter


_log = logging.getLogger(__name__)


class TorchEngine:
    """A network with the step of one method.

    The graph is captured when it is prepared, for that image shape; the latest is kept.

    Args:
        network: shared by any number of engines.
        backward: what is kept in memory for the backward pass.
        host_by_task: nobody has chosen NanoAdapt's host, and the task's replaces it.

    Raises:
        ConfigError: activations that cannot be checkpointed with this configuration.
    """

    def __init__(
        self,
        network: SourceNetwork,
        config: MethodConfig,
        input_spec: InputSpec,
        backward: Backward = BACKWARD,
        host_by_task: bool = False,
    ) -> None:
        self._host_by_task = host_by_task
        self.network, self.config, self.input_spec = network, config, input_spec
        self.task: Task | None = network.task
        self.backward = backward
        if config.trains:
            checkpointing.check(
                backward.checkpointing,
                gradient=config.calibration.gradient,
                taylor=config.calibration.taylor,
            )
        self.image_shape: tuple[int, ...] = ()
        self._step: Step | None = None
        self._runs: Step | RecordedStep | None = None

    @property
    def step(self) -> Step:
        """The step for the latest image shape."""
        assert self._step is not None
        return self._step

    @property
    def _running(self) -> Step | RecordedStep:
        """The same, as it runs on the device."""
        assert self._runs is not None
        return self._runs

    @torch.inference_mode(False)
    def prepare(self, image_shape: tuple[int, ...]) -> int:
        """Capture the network for images (channels, H, W); return the number of classes.

        Raises:
            ModelError: the network cannot be captured or holds nothing to adapt.
            ConfigError: a method that trains, and a task without a loss.
        """
        if image_shape != self.image_shape:
            program = self.network.program(
                image_shape, self.backward.saved, self.config.folded_below
            )
            self.task = program.task
            self.config = _fitted(self.config, program, self._host_by_task)
            on_cuda = self.network.device.type == "cuda"
            step = Step(program, self.config, traced=on_cuda)
            if self.backward.checkpointing and self.config.trains:
                program = checkpointing.checkpointed(
                    program, image_shape, step.parameters.names, self.backward.checkpointing
                )
                step = Step(program, self.config, traced=on_cuda)
            self._step, self.image_shape = step, image_shape
            self._runs = RecordedStep(step) if on_cuda else step
        return self.step.program.classes

    # Tensors made in inference mode cannot take part in a backward pass, now or later.
    @torch.inference_mode(False)
    def batch(self, images: Any) -> Tensor:
        """Return images (N, channels, H, W) as float32 on the device, without a graph.

        Raises:
            ValueError: another number of axes, or no image.
        """
        batch = as_tensor(images)
        if batch.ndim != 4 or not len(batch):
            raise ValueError(
                f"images must be (N, channels, H, W), N >= 1, got {tuple(batch.shape)}"
            )
        return batch.to(self.network.device)

    @torch.inference_mode(False)
    def with_views(self, batch: Tensor, count: int, rng: np.random.Generator) -> Tensor:
        """Return each frame followed by views of it, (N * (1 + count), channels, H, W)."""
        views = make_views(batch.cpu().numpy(), count, self.input_spec, rng)
        return torch.from_numpy(views).to(self.network.device)

    def is_finite(self, batch: Tensor) -> bool:
        """Return True where no value is NaN or infinite."""
        return bool(torch.isfinite(batch).all())

    @torch.inference_mode(False)
    def initial_state(self) -> State:
        """Return the state before the first frame."""
        return self.step.initial_state()

    @torch.inference_mode(False)
    def observe(self, batch: Tensor, state: State) -> tuple[Any, State]:
        """Return outputs and new state; see `edge_tta.method.step`."""
        return self._running.observe(batch, state)

    @torch.inference_mode(False)
    def learn(self, batch: Tensor, state: State, views: int) -> tuple[Any, State]:
        """Return outputs and new state; see `edge_tta.method.step`."""
        return self._running.learn(batch, state, views=views)

    @torch.inference_mode(False)
    def predict(self, batch: Tensor, state: State) -> Any:
        """Return outputs at a state."""
        return self._running.predict(batch, state)

    def ready(self, state: State) -> None:
        """Do nothing: statistics and parameters are read where they are."""

    def pair(self) -> tuple[TorchEngine, TorchEngine]:
        """Return two engines of the network."""
        others = (
            TorchEngine(
                self.network, self.config, self.input_spec, self.backward, self._host_by_task
            )
            for _ in range(2)
        )
        return next(others), next(others)

    def to_arrays(self, state: State) -> Arrays:
        """Return a state as NumPy's arrays."""
        return {name: value.cpu().numpy() for name, value in state.items()}

    @torch.inference_mode(False)
    def from_arrays(self, arrays: Arrays) -> State:
        """Return arrays as a state on the device."""
        device = self.network.device
        return {name: torch.from_numpy(value).to(device) for name, value in arrays.items()}

    def header(self, steps: int) -> Header:
        """Return whose states these are."""
        layout: dict[str, Any] = {}
        if self._step is not None:
            layers = layer_layout(self.step.program.layers)
            parts = {"layers": layers, "parameters": self.step.parameters}
            for key, part in parts.items():
                layout[key] = [list(pair) for pair in zip(part.names, part.shapes, strict=True)]
        config = self.config.as_dict()
        return Header(self.network.fingerprint, config, layout, self.image_shape, steps)

    def with_config(self, config: MethodConfig) -> TorchEngine:
        """Return an engine of the same network with another method, all else as here."""
        return TorchEngine(self.network, config, self.input_spec, self.backward, self._host_by_task)

    def with_method(self, method: str, preset: str | Path) -> TorchEngine:
        """Return an engine of the same network with a method by name, its layers and views as here.

        Activations are checkpointed as here where the method allows it.

        Raises:
            ConfigError: an unknown method or preset.
        """
        layers, views = self.config.layers, self.config.views
        chosen: dict[str, Any] = {
            "adapt_from": layers.adapt_from,
            "calibrate_below": layers.calibrate_below,
        }
        config = make_config(method, preset=preset, **chosen)
        if config.trains:
            # A share is of NanoAdapt's presets; baselines train all but so many as were chosen.
            keeps = layers.depth >= 1 or config.method == self.config.method
            chosen |= {"train": layers.train, "depth": layers.depth if keeps else None}
            chosen |= {"views": views.count, "seed": views.seed}
            config = make_config(method, preset=preset, **chosen)
        by_task, network, spec = ":" not in method, self.network, self.input_spec
        try:
            return TorchEngine(network, config, spec, self.backward, by_task)
        except ConfigError:  # its activations cannot be checkpointed
            return TorchEngine(network, config, spec, Backward(self.backward.saved), by_task)

    @torch.inference_mode(False)
    def fisher(self, images: Tensor, batch_size: int) -> Tensor:
        """Return the Fisher diagonal of the source, (P,).

        Raises:
            ConfigError: the configuration has no use for it.
            ValueError: images that give no finite gradient.
        """
        if self.config.loss.fisher_weight == 0:
            raise ConfigError("the Fisher diagonal is unused: set fisher_weight above 0")
        diagonal = fisher_diagonal(self.step, images, batch_size)
        if not bool(torch.isfinite(diagonal).all() & (diagonal > 0).any()):
            raise ValueError(
                "the images give no gradients, or none that are finite; expected images of the "
                "source domain, normalised as the network expects"
            )
        return diagonal

    @torch.inference_mode(False)
    def folded(self, state: State) -> nn.Module:
        """Return a copy of the network with a state's statistics and parameters put in."""
        model = self.network.copy()
        if self._step is None:
            return model
        step = self.step
        tensors: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
        tensors |= model.named_buffers(remove_duplicate=False)
        statistics = step.statistics(state)
        with torch.no_grad():
            for layer in step.program.layers:
                if not layer.channels:
                    continue
                mean, variance = statistics[layer.name]
                tensors[layer.mean_name].copy_(mean)
                tensors[layer.variance_name].copy_(variance)
            if "opt.parameters" in state:
                for name, value in step.parameters.split(state["opt.parameters"]).items():
                    tensors[name].copy_(value)
        return model


def as_tensor(images: Any) -> Tensor:
    """Return images, a tensor or an array, as a float32 tensor without a graph."""
    if isinstance(images, Tensor):
        tensor = images.detach().to(torch.float32)
        return tensor.clone() if tensor.is_inference() else tensor
    # A copy: PyTorch cannot take read-only arrays or negative strides.
    with np.errstate(over="ignore"):
        return torch.from_numpy(np.array(images, dtype=np.float32, order="C"))


def engine_of(adapter: Adapter) -> TorchEngine:
    """Return the engine of an adapter of a module.

    Raises:
        ConfigError: it is a bundle's.
    """
    if not isinstance(adapter.engine, TorchEngine):
        raise ConfigError("a bundle has no module of PyTorch; give the model that it was made from")
    return adapter.engine


def _fitted(config: MethodConfig, program: Program, host_by_task: bool) -> MethodConfig:
    """Return a configuration as a network needs it. Raises ConfigError where none would do."""
    task = program.task
    if not program.calibrates:
        return affine_only(config, learns=task.learns)
    calibrates = host_by_task and config.method == "nanoadapt" and task.host == "norm"
    if config.trains and (calibrates or not task.learns):
        asked, config = config.label, calibrating(config)
        if not calibrates:
            why = "only calibrates, as with host norm: there is no loss to train by in task"
            _log.warning("%s %s %s", asked, why, task.name)
    if config.method == "nanoadapt" and config.calibration.kind == "anchored":
        given = to_fields(config)
        edge = to_fields(make_config("nanoadapt", config.host))
        config = with_fields(
            config, {name: v for name, v in task.preset.items() if given[name] == edge[name]}
        )
    return config
