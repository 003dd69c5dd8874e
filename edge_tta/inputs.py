"""A frame as the input of a network."""

from __future__ import annotations

from edge_tta.errors import SourceError
from edge_tta.frames.source import Frame
from edge_tta.prepare import Images, InputSpec


def input_of(frame: Frame, spec: InputSpec) -> Images:
    """Return a picture prepared, or an array as it is, (1, channels, H, W).

    Raises:
        SourceError: an array of another shape than the network's input.
    """
    if frame.array is None:
        return spec.prepare(frame.pixels)
    if frame.array.shape != spec.shape:
        raise SourceError(
            f"{frame.name} is {frame.array.shape}, and the network takes {spec.shape}; "
            "give --size HxW and --channels, or arrays of that shape"
        )
    return frame.array[None]
