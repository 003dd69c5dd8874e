"""Networks with a state folded into their weights, which change in place, without a new session.

onnxruntime optimises a network of constants (blocked layout, activations within convolutions) and
nothing else; but what it has made of it can be saved, and loaded with constants that lie in this
process's memory. So a bundle's folded graph is optimised here, for this machine, and the constants
of its variable convolutions are written anew whenever the state changes.

A variable convolution is known by its bias: the file holds a tag there (`variable_tag`), and
`export.graph.in_place` says what else. Of its weight, in whatever layout it has been brought, each
output channel's values stand a fixed step apart: blocks of B channels, (C / B, values, B).
"""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edge_tta.bundle.messages import GRAPH, MODEL, NODE, TENSOR, Message, dims, external
from edge_tta.bundle.runtime import Session, open_session, quiet_runtime
from edge_tta.errors import BundleError, one_line

Array = npt.NDArray[np.float32]

Kind = Literal["bias", "shift", "centre"]

MEAN, SQUARE = "mean", "square"
"""Outputs of a measuring graph: of all sites, one after the other."""

MEASURED_CENTRE = "measured.centre"
"""Input of a calibrating graph: the `centre` that they were measured with."""

VARIABLE = "variable_"
"""Names of constants that are the device's to change begin so."""

KINDS: tuple[Kind, ...] = ("bias", "shift", "centre")
"""What a variable convolution's bias is; the weight of `centre` stays as trained."""

_TAG = 1 << 22
_FLOAT = 1
_CONVOLUTIONS = {"Conv", "FusedConv"}
_BLOCKS = (1, 4, 8, 16, 32, 64)
# Scales are repeated so often at most, for numpy to multiply long rows.
_LONG_ROW = 64


class UnsuitableError(Exception):
    """This onnxruntime makes something of a folded graph that cannot be changed in place."""


def variable_tag(index: int, kind: Kind, channels: int) -> Array:
    """Return the bias that stands for a site's vector in a file, (channels,)."""
    return np.full(channels, _TAG + len(KINDS) * index + KINDS.index(kind), np.float32)


def variable_weight(index: int, kind: Kind) -> str:
    """Return the name of the weight beside that bias."""
    return f"{VARIABLE}{index}_{kind}"


def places_of(channels: Mapping[int, int]) -> dict[int, slice]:
    """Return where each site's channels stand in a vector of all sites.

    channels: their number, by site.
    """
    sites = sorted(channels)
    ends = itertools.accumulate(channels[site] for site in sites)
    return {site: slice(end - channels[site], end) for site, end in zip(sites, ends, strict=True)}


class FoldedSession:
    """A folded graph, optimised for this machine, and its variable weights.

    Args:
        graph: checked.
        threads: as of `open_session`.

    Raises:
        UnsuitableError: the optimised graph is not of the form that is known here, or there is no
            room for it.
    """

    def __init__(self, graph: Path, threads: int | None) -> None:
        try:
            with tempfile.TemporaryDirectory(
                prefix="edge_tta-", ignore_cleanup_errors=True
            ) as folder:
                optimised = Path(folder) / "optimised.onnx"
                open_session(graph, threads, "speed", optimised=optimised)
                self._variables = _variables(graph, optimised)
                self._session: Session = open_session(
                    optimised, threads, "speed", own=_values_of(self._variables)
                )
        except (BundleError, OSError, ValueError, IndexError, KeyError, OverflowError) as error:
            raise UnsuitableError(f"{graph.name}: {one_line(error, 160)}") from error
        self.names = [item.name for item in self._session.get_outputs()]

    def fold(self, vectors: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write the weights anew.

        vectors: `scale` and KINDS, of all sites, one after the other.
        """
        for variable in self._variables:
            variable.write(vectors["scale"], vectors[variable.kind])

    def run(self, images: Array) -> list[Any]:
        """Return the outputs, in the order of `names`."""
        return self._session.run(self.names, {"images": images})


class _Variable:
    """One convolution whose bias is changed, and its weight by scales.

    Args:
        kind: what its bias is.
        names: of weight and bias in the graph.
        trained: the weight as the graph has it.
        layout: (C / B, values, B) of it; None: it stays.
        channels: without those of mere padding, and with them.

    Attributes:
        own: what the session reads, by name.
        places: where its channels stand among those of all sites.
    """

    def __init__(
        self,
        kind: Kind,
        names: Sequence[str],
        trained: Array,
        layout: tuple[int, int, int] | None,
        channels: tuple[int, int],
    ) -> None:
        self.kind, self.places = kind, slice(0, 0)
        self.channels, padded = channels
        self._bias = np.zeros(padded, np.float32)
        self.own = {names[1]: self._bias}
        self._weight: Array | None = None
        if layout is not None:
            weight = self.own[names[0]] = np.empty(trained.shape, np.float32)
            count, values, blocks = layout
            # Rows of many values: numpy is slow over an axis as short as a block.
            row = math.gcd(values, _LONG_ROW)
            rows = (count, values // row, row * blocks)
            self._trained, self._weight = trained.reshape(rows), weight.reshape(rows)
            self._scale = np.zeros(padded, np.float32)
            self._repeats = (count, 1, row, blocks)

    def write(self, scale: npt.NDArray[Any], bias: npt.NDArray[Any]) -> None:
        """Multiply each channel's weights by its scale, (C,) of all sites, and take its bias."""
        self._bias[: self.channels] = bias[self.places]
        if self._weight is None:
            return
        self._scale[: self.channels] = scale[self.places]
        count, _, row, blocks = self._repeats
        factors = np.broadcast_to(self._scale.reshape(count, 1, 1, blocks), self._repeats)
        np.multiply(self._trained, factors.reshape(count, 1, row * blocks), out=self._weight)


def _values_of(variables: Sequence[_Variable]) -> dict[str, Any]:
    """Return what the session reads, by name, as values of onnxruntime over the same memory."""
    runtime = quiet_runtime()
    return {
        name: runtime.OrtValue.ortvalue_from_numpy(values)
        for variable in variables
        for name, values in variable.own.items()
    }


class _Constants:
    """Constants of an ONNX file, large ones mapped, and its convolutions' inputs by name."""

    def __init__(self, path: Path) -> None:
        self._folder = path.parent
        (part,) = Message(memoryview(path.read_bytes()), MODEL).parts("graph")
        graph = Message(part, GRAPH)
        nodes = (Message(node, NODE) for node in graph.parts("nodes"))
        self.convolutions = [
            node.texts("inputs") for node in nodes if {*node.texts("operator")} & _CONVOLUTIONS
        ]
        tensors = (Message(tensor, TENSOR) for tensor in graph.parts("tensors"))
        self._tensors = {"".join(tensor.texts("name")): tensor for tensor in tensors}
        self.variables = {name for name in self._tensors if name.startswith(VARIABLE)}

    def floats(self, name: str) -> Array | None:
        """Return a constant, float32, read only; None: it is none, or of another type."""
        tensor = self._tensors.get(name)
        if tensor is None or tensor.get("type") != [_FLOAT]:
            return None
        place = external(tensor)
        if not place:
            return np.frombuffer(b"".join(tensor.parts("raw")), np.float32).reshape(dims(tensor))
        file, offset = self._folder / place["location"], int(place.get("offset", "0"))
        return np.memmap(file, np.float32, "r", offset, tuple(dims(tensor)))


def _variables(graph: Path, optimised: Path) -> list[_Variable]:
    """Return the variable convolutions of an optimised graph.

    Raises:
        ValueError: they are not as expected.
        OSError, IndexError, KeyError: the file is not.
    """
    before, after = _Constants(graph), _Constants(optimised)
    variables: dict[tuple[int, Kind], _Variable] = {}
    for names in after.convolutions:
        bias = after.floats(names[2]) if len(names) > 2 else None
        if bias is None or bias.ndim != 1 or not bias.size or not _TAG <= bias[0] < 2 * _TAG:
            continue
        index, number = divmod(int(bias[0]) - _TAG, len(KINDS))
        key = index, KINDS[number]
        weight, channels = after.floats(names[1]), int(np.count_nonzero(bias))
        if not np.array_equal(bias[:channels], variable_tag(*key, channels)):
            raise ValueError(f"something was added to the bias of site {index}")
        trained = before.floats(variable_weight(*key))
        if weight is None or trained is None or key in variables:
            raise ValueError(f"the weight of site {index} is no constant of its own")
        scaled = key[1] != "centre"
        layout = _layout(weight, trained.reshape(channels, -1), len(bias)) if scaled else None
        variables[key] = _Variable(key[1], names[1:3], weight, layout, (channels, len(bias)))
    own = [name for variable in variables.values() for name in variable.own]
    counts = {index: variable.channels for (index, _), variable in variables.items()}
    if len(set(own)) < len(own) or {variable_weight(*key) for key in variables} != before.variables:
        raise ValueError("sites share a constant, or are missing")
    places = places_of(counts)
    for (index, _), variable in variables.items():
        variable.places = places[index]
    return list(variables.values())


def _layout(weight: Array, trained: Array, channels: int) -> tuple[int, int, int]:
    """Return the shape (channels / B, values, B) that a weight has been brought into.

    trained: as it was, (channels without padding, values).
    """
    fitting = []
    for blocks in _BLOCKS:
        if channels % blocks == 0 and weight.size % channels == 0:
            shape = (channels // blocks, weight.size // channels, blocks)
            rows = weight.reshape(shape)
            if all(
                _same_values(rows[row // blocks, :, row % blocks], trained[row])
                for row in {0, len(trained) // 2, len(trained) - 1}
            ):
                fitting.append(shape)
    # With one value a channel, all layouts are the same.
    if not fitting or (len(fitting) > 1 and fitting[0][1] > 1):
        raise ValueError("a weight is in an unknown layout")
    return fitting[0]


def _same_values(row: Array, trained: Array) -> bool:
    """Tell whether a row holds these values, in any order, and zeros."""
    one, other = (np.sort(part[part != 0]) for part in (row, trained))
    return bool(np.array_equal(one, other))
