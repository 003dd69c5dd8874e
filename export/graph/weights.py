"""Fixed tensors of several graphs in one file, which the runtime maps into memory."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

Array = npt.NDArray[np.generic]

# Tensors from this size on stand on a page of their own, so that they can be mapped.
_LARGE = 1 << 16
_PAGE, _LINE = 4096, 64
# Smaller ones stand in the graph itself.
_SMALL = 256
_SHAPE = 4096


class WeightFile:
    """Collects tensors; equal ones are stored once.

    location: the file's name, beside the graphs; None: no file, tensors stand in the graph itself.
    """

    def __init__(self, location: str | None) -> None:
        self.location = location
        self._data = bytearray()
        self._known: dict[bytes, tuple[int, int]] = {}

    def proto(self, name: str, values: Array) -> TensorProto:
        """An initializer of this name: a reference into the file, or the values where few."""
        kind = helper.np_dtype_to_tensor_dtype(values.dtype)
        tensor = TensorProto(name=name, data_type=kind, dims=values.shape)
        # Shapes, axes and lengths: onnxruntime looks at them before it opens the file.
        is_shape = values.dtype.kind == "i" and values.size <= _SHAPE
        if values.nbytes < _SMALL or is_shape or self.location is None:
            tensor.raw_data = values.tobytes()
            return tensor
        offset, length = self._place(values.tobytes())
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", self.location), ("offset", offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        return tensor

    def write(self, folder: Path) -> None:
        """Writes the file into the folder."""
        assert self.location is not None
        (folder / self.location).write_bytes(self._data)

    def _place(self, data: bytes) -> tuple[int, int]:
        digest = hashlib.sha256(data).digest()
        if digest not in self._known:
            step = _PAGE if len(data) >= _LARGE else _LINE
            self._data += bytes(-len(self._data) % step)
            self._known[digest] = len(self._data), len(data)
            self._data += data
        return self._known[digest]
