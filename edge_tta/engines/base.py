"""Interface of engines: pure functions over a network and a method; the state is the caller's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from edge_tta.checkpoint import Arrays, Header
from edge_tta.config import SAVED, MethodConfig
from edge_tta.errors import ConfigError
from edge_tta.prepare import InputSpec
from edge_tta.tasks import Task

# Tensors by name, of the engine's own type; keys as in `edge_tta.method.state`.
State = dict[str, Any]


@dataclass(frozen=True)
class Backward:
    """Memory that PyTorch's forward pass keeps for the backward pass, which time pays for.

    Args:
        saved: precision of what is saved: `float32`; `float16` (half the memory, gradients to
            about 1e-3); `int8` (a quarter, 1e-2); or `stock`, as PyTorch saves it.
        checkpointing: segments at most that save their input alone and are computed again in the
            backward pass: a number from 2, `auto` (as many as save least), or 0: none. Needs
            `gradient` constant and no `taylor`.

    Raises:
        ConfigError: another precision.
    """

    saved: str = "float32"
    checkpointing: int | str = 0

    def __post_init__(self) -> None:
        if self.saved not in SAVED:
            raise ConfigError(f"saved must be one of {', '.join(SAVED)}, got {self.saved!r}")


BACKWARD = Backward()


@runtime_checkable
class Engine(Protocol):
    """A network and a method. Images and outputs are tensors or arrays, as the engine computes;
    several outputs are nested as the network's (`edge_tta.nest`).

    Attributes:
        config: the method; after `prepare` as the task needs it.
        task: what the outputs mean; None: not known before it is prepared.
        input_spec: the network's input.
        image_shape: (channels, H, W) that it is prepared for; empty before that.
    """

    config: MethodConfig
    task: Task | None
    input_spec: InputSpec
    image_shape: tuple[int, ...]

    def prepare(self, image_shape: tuple[int, ...]) -> int:
        """Load what images (channels, H, W) need; return the number of classes.

        1 where the task knows of none.
        """
        ...

    def batch(self, images: Any) -> Any:
        """Return images (N, channels, H, W) as float32 of the engine's own type.

        Raises:
            ValueError: another number of axes, or no image.
        """
        ...

    def with_views(self, batch: Any, count: int, rng: np.random.Generator) -> Any:
        """Return each frame followed by views of it, (N * (1 + count), channels, H, W)."""
        ...

    def is_finite(self, batch: Any) -> bool:
        """Return True where no value is NaN or infinite."""
        ...

    def initial_state(self) -> State:
        """Return the state before the first frame."""
        ...

    def observe(self, batch: Any, state: State) -> tuple[Any, State]:
        """Return outputs and the state after the forward pass."""
        ...

    def learn(self, batch: Any, state: State, views: int) -> tuple[Any, State]:
        """Return outputs and the state after forward and backward pass.

        batch: N frames, `views` images of each.
        """
        ...

    def predict(self, batch: Any, state: State) -> Any:
        """Return outputs at a state."""
        ...

    def ready(self, state: State) -> None:
        """Make the next prediction at a state as fast as those after it.

        Another thread may predict meanwhile.
        """
        ...

    def pair(self) -> tuple[Engine, Engine]:
        """Return two engines of this network and method: to predict alone, and to learn beside."""
        ...

    def to_arrays(self, state: State) -> Arrays:
        """Return a state as NumPy's arrays, for files."""
        ...

    def from_arrays(self, arrays: Arrays) -> State:
        """Return arrays as a state."""
        ...

    def header(self, steps: int) -> Header:
        """Return whose states these are, for files."""
        ...

    def with_config(self, config: MethodConfig) -> Engine:
        """Return an engine of the same network with another method."""
        ...

    def with_method(self, method: str, preset: str | Path) -> Engine:
        """Return an engine of the same network with a method by name, its other options as here."""
        ...


def stepped(engine: Engine, batch: Any, state: State, learn: bool) -> tuple[Any, State]:
    """Return outputs and new state of an engine's batch; learn: with the backward pass."""
    if not (learn and engine.config.trains):
        return engine.observe(batch, state)
    views = engine.config.views
    if views.count:
        rng = np.random.default_rng([views.seed, int(state["steps"])])
        batch = engine.with_views(batch, views.count, rng)
    return engine.learn(batch, state, 1 + views.count)
