"""Parts of a manifest: files, tensors, methods and their graphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from edge_tta.errors import quoted

_MOST_WHOLE = 1 << 53


class TensorSpec(NamedTuple):
    """Shape and NumPy type of a tensor of the state."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class FileRecord:
    """A file of the bundle: its size and SHA-256."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class FoldedRecord:
    """File names of a method's folded graphs (`edge_tta.bundle.folding`).

    Attributes:
        network: images to outputs.
        fold: state to what its variable convolutions multiply and add.
        measuring: images to outputs and moments, or None: no frame can be observed so.
        calibrate: outputs, moments and state to the state after the frame, or None.
        int8: network and measuring are in int8 (`edge_tta.bundle.int8`).
    """

    network: str
    fold: str
    measuring: str | None
    calibrate: str | None
    int8: bool = False

    @property
    def graphs(self) -> tuple[str | None, ...]:
        """All graphs' file names, None in place of one that is not there."""
        return self.network, self.fold, self.measuring, self.calibrate


@dataclass(frozen=True)
class MethodRecord:
    """One method of the bundle.

    Attributes:
        observe, learn: the graphs' file names; learn is None where nothing is trained.
        predict: the graph of logits at a state that stays as it is; observe itself where that
            changes nothing.
        compact: file name of a learn graph that keeps less in memory and is slower, or None.
        state: file name of the state before the first frame, an ordinary state file.
        layout: the state's tensors, which are inputs of the graphs; an output `new.NAME` is NAME
            after the frame, and what has no such output stays as it is.
        preset: as it was named at export.
        folded: graphs that do what predict and observe do, faster; None: there are none, as in
            bundles of earlier versions.
    """

    observe: str
    learn: str | None
    predict: str
    compact: str | None
    state: str
    layout: Mapping[str, TensorSpec]
    preset: str
    folded: FoldedRecord | None = None

    @property
    def graphs(self) -> tuple[str, ...]:
        """All graphs' file names."""
        names = [self.observe, self.learn, self.predict, self.compact]
        if self.folded is not None:
            names += self.folded.graphs
        return tuple(dict.fromkeys(name for name in names if name))


def folded_record(given: Mapping[str, Any] | None) -> FoldedRecord | None:
    """Return the record of a manifest's fields; None: there are no folded graphs.

    Raises TypeError and KeyError where they are not as expected.
    """
    if given is None:
        return None
    measuring, calibrate = (
        None if given[key] is None else text_of(given[key]) for key in ("measuring", "calibrate")
    )
    int8 = given.get("int8", False)
    if not isinstance(int8, bool):
        raise TypeError(f"expected true or false, got {quoted(int8, 40)}")
    network, fold = text_of(given["network"]), text_of(given["fold"])
    return FoldedRecord(network, fold, measuring, calibrate, int8)


def text_of(value: Any) -> str:
    """Return a text. Raises TypeError for anything else."""
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {quoted(value, 40)}")
    return value


def whole_of(value: Any) -> int:
    """Return a whole number from 0. Raises TypeError for anything else."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MOST_WHOLE:
        raise TypeError(f"expected a whole number, got {quoted(value, 40)}")
    return value
