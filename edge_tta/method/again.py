"""Parts of a network that are run again in the backward pass (`edge_tta.network.recompute`).

The step is the same where the statistics used are constants of the gradient: what a part is
normalised with is then remembered, and not computed again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from edge_tta.config import MethodConfig
from edge_tta.errors import ConfigError
from edge_tta.network import cutting
from edge_tta.network.program import Normaliser, Program
from edge_tta.network.recompute import Parts

AUTO = "auto"
NEEDED: dict[str, Any] = {"gradient": "constant", "taylor": "none"}
"""Fields of a configuration whose parts can be run again."""


def check(config: MethodConfig, recompute: int | str) -> None:
    """Whether the network can run in so many parts; `auto`: as many as leave least to wait; 0: it
    does not.

    Raises:
        ConfigError: neither, or a configuration with which no part can be run again.
    """
    whole = isinstance(recompute, int) and not isinstance(recompute, bool)
    if recompute != AUTO and not (whole and (recompute == 0 or int(recompute) >= 2)):
        raise ConfigError(
            f"recompute must be '{AUTO}', or a number of parts from 2, or 0, got {recompute!r}"
        )
    if not recompute or not config.trains:
        return
    for name, value in NEEDED.items():
        found = getattr(config, name)
        if found != value:
            raise ConfigError(
                f"recompute = {recompute!r} runs parts of the network again with the statistics "
                f"that they had, and with {name} = {found!r} those are not all; set {name} = "
                f"{value!r}, or recompute = 0"
            )


def parts_of(
    program: Program,
    images: Tensor,
    normaliser: Normaliser,
    state: Iterable[Tensor],
    recompute: int | str,
) -> Parts:
    """The program in the parts that leave least to wait; one where every cut would leave more.

    Runs it once, without keeping anything, to see what each operation would save.

    Args:
        images: such as it will learn from.
        normaliser: with parameters whose gradient is asked for.
        state: tensors that are there anyway, as the program's are.
        recompute: as checked.
    """
    there = {tensor.untyped_storage().data_ptr() for tensor in (*program.tensors(), *state)}
    sizes = cutting.measured(program, images, normaliser, there)
    graph = program.plain.graph
    most = None if recompute == AUTO else int(recompute)
    return Parts(program, cutting.best(graph, sizes, cutting.cuts(graph, sizes), most))
