"""What comes from outside, as functions of bytes: whatever the bytes are, each either works, or
raises an EdgeTTAError of one line. Hypothesis and atheris both feed these.

A module `targets_*.py` in this folder adds its own to TARGETS.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import json
import pkgutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.methods import parse_methods
from bench.orders import parse_order
from bench.results import read_results
from edge_tta.adapter import Adapter
from edge_tta.checkpoint import load_state
from edge_tta.class_names import read_class_names
from edge_tta.cli import run as run_command
from edge_tta.cli import values
from edge_tta.config import make_config
from edge_tta.config.presets import load_preset
from edge_tta.errors import EdgeTTAError, StateError, one_line
from edge_tta.frames import network as frame_network
from edge_tta.frames import open_source
from edge_tta.frames.faults import FaultFilter, not_a_picture, unusable
from edge_tta.frames.labels import ClassNames, read_labels
from edge_tta.frames.mjpeg import MjpegCapture
from edge_tta.frames.pictures import decode_picture, to_rgb
from edge_tta.frames.pipes import STANDARD_INPUT
from edge_tta.models import read_weights
from edge_tta.prepare import InputSpec
from tests.networks import network

Target = Callable[[bytes], None]
TARGETS: dict[str, Target] = {}
SPEC = InputSpec(size=16)
DTYPES = (np.uint8, np.uint16, np.int16, np.float32, np.float64, np.bool_)


def target(function: Target) -> Target:
    """Adds a target by its name."""
    TARGETS[function.__name__] = function
    return function


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Allows an EdgeTTAError that the command line can tell in one line."""
    try:
        yield
    except EdgeTTAError as error:
        message = one_line(error)
        assert message
        assert len(message.splitlines()) == 1, repr(message)
        assert len(message) < 20_000, message  # it may repeat what was typed


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fuzz-")  # gone when the process ends


def file_of(data: bytes, name: str) -> Path:
    """The bytes as a file; the next call with the same name replaces it."""
    path = Path(_folder().name, name)
    path.write_bytes(data)
    return path


@target
def picture(data: bytes) -> None:
    """An image file."""
    pixels = decode_picture(data)
    if pixels is not None:
        assert not_a_picture(pixels) is None
        image = SPEC.prepare(pixels)
        assert image.shape == (1, 3, 16, 16)
        assert np.isfinite(image).all()


@target
def capture(data: bytes) -> None:
    """A raw capture of any type and shape: the first bytes say which, the others fill it."""
    kind, rank, *sizes = [*data[:6], *bytes(6)][:6]
    dtype = np.dtype(DTYPES[kind % len(DTYPES)])
    shape = tuple(size % 33 for size in sizes)[: rank % 5]
    count = int(np.prod(shape)) * dtype.itemsize
    body = data[6:] or b"\0"
    raw = np.frombuffer((body * (count // len(body) + 1))[:count], dtype).reshape(shape)
    faults = FaultFilter()
    first, second = faults.fault(raw), faults.fault(raw)
    why = unusable(raw)
    if why is not None:
        assert first == second == why
        return
    assert second in ("black", "blank", "repeat")
    pixels = to_rgb(raw)
    assert not_a_picture(pixels) is None
    assert np.isfinite(SPEC.prepare(pixels)).all()


@target
def jpeg_stream(data: bytes) -> None:
    """The body of a multipart answer."""
    stream = MjpegCapture(io.BytesIO(data), "frame")
    for _ in range(len(data) + 1):
        if not stream.grab():
            assert not stream.grab()
            break
        good, pixels = stream.retrieve()
        assert good == (pixels is not None)
        assert pixels is None or unusable(pixels) is None
    else:
        raise AssertionError("the stream does not end")


@functools.cache
def a_state() -> tuple[Adapter, bytes, dict[str, Any]]:
    """An adapter, a state file of its own, and the tensors in it."""
    adapter = Adapter(network("used-twice"), "nanoadapt:tent", accumulation=2)
    rng = np.random.default_rng(0)
    for _ in range(3):
        adapter(rng.standard_normal((1, 3, 8, 8)).astype(np.float32))
    path = Path(_folder().name, "good.safetensors")
    adapter.save(path)
    return adapter, path.read_bytes(), load_state(path)[0]


@target
def state(data: bytes) -> None:
    """A state file: refused, or its values are those that were written."""
    adapter, _, tensors = a_state()
    before = adapter.state
    with told():
        try:
            adapter.load(file_of(data, "state.safetensors"))
        except StateError:
            assert all(before[name] is value for name, value in adapter.state.items())
            raise
        for name, value in adapter.state.items():
            assert value.numpy().tobytes() == tensors[name].tobytes(), name


@target
def weights(data: bytes) -> None:
    """A weights file, of either kind."""
    for ending in ("safetensors", "pt"):
        with told():
            read_weights(file_of(data, f"weights.{ending}"))


@target
def preset(data: bytes) -> None:
    """A preset in TOML."""
    path = file_of(data, "preset.toml")
    with told():
        load_preset(path)
        config = make_config("nanoadapt", "tent", path)
        assert config.method == "nanoadapt"


@target
def class_names(data: bytes) -> None:
    """A file of class names."""
    with told():
        assert all(isinstance(name, str) for name in read_class_names(file_of(data, "names")))


@target
def labels(data: bytes) -> None:
    """A labels.csv."""
    with told():
        names = ClassNames(("cat", "dog"))
        labels = read_labels(file_of(data, "labels.csv"), names)
        assert all(label in (0, 1) for label in labels.values())


@target
def result_file(data: bytes) -> None:
    """A result file of bench."""
    with told():
        read_results(file_of(data, "result.json"))


@target
def source(data: bytes) -> None:
    """What may be typed for SOURCE; nothing goes out to a network."""
    text = data.decode("utf-8", "replace")
    if text.strip() in STANDARD_INPUT:
        return
    with _offline(), told(), open_source(text, max_frames=1, reconnect_s=0.0) as frames:
        frames.read()


@target
def command_line(data: bytes) -> None:
    """Words after `edge-tta run`, separated by zeros: understood, or exit code 2."""
    words = [word.decode("utf-8", "replace") for word in data.split(b"\0")]
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        code: object = 0
        try:
            run_command.parser().parse_args(values.joined_numbers(words))
        except SystemExit as leaving:
            code = leaving.code
        assert code in (0, 2)


@target
def methods(data: bytes) -> None:
    """Methods and orders, as bench takes them."""
    text = data.decode("utf-8", "replace")
    with told():
        for config in parse_methods(text).values():
            json.dumps(config.as_dict())
    with told():
        parse_order(text)


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Addresses are taken apart and asked, but nobody answers."""

    class Closed:
        def isOpened(self) -> bool:
            return False

    def refuse(*given: object) -> None:
        raise ConnectionRefusedError("offline")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame_network, "_open_stream", lambda *given: Closed())
        patch.setattr(socket, "create_connection", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        yield


for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
    if module.name.startswith("targets_"):
        importlib.import_module(f"{__package__}.{module.name}")
