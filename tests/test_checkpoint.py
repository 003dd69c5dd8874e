"""State files that are damaged, foreign or cannot be written: one line, and nothing is lost."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

from edge_tta.adapter import Adapter
from edge_tta.checkpoint import Arrays, check_matches, digest_of, load_state
from edge_tta.config.fields import PLACES, to_fields
from edge_tta.errors import OutputError, StateError
from edge_tta.network.capture import fingerprint_of
from tests.adapters import WINDOW, adapter, assert_same, stream
from tests.networks import network

CASE = "nanoadapt:tent/paper"


def _used(case: str = CASE, **options: Any) -> Adapter:
    """An adapter with an update behind it and gradients accumulated."""
    adapting = adapter(case, **options)
    for images in stream(WINDOW + 2):
        adapting(images)
    return adapting


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A good state file, alone in its folder."""
    path = tmp_path / "state.safetensors"
    _used().save(path)
    return path


def _header(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    return header


def _refused(path: Path, match: str | None = None) -> str:
    """The one line that both a used and a fresh adapter refuse the file with."""
    before = path.read_bytes() if path.is_file() else None
    used, fresh = _used(), adapter(CASE)
    state, counters = used.state, (used.steps, used.updates, used.position)
    for adapting in (used, fresh):
        with pytest.raises(StateError, match=match) as caught:
            adapting.load(path)
        assert "\n" not in str(caught.value)
        assert path.name in str(caught.value)
    assert_same(used.state, state)
    assert (used.steps, used.updates, used.position) == counters
    images = stream(1)[0]
    assert torch.equal(fresh(images), adapter(CASE)(images))
    assert (path.read_bytes() if path.is_file() else None) == before
    return str(caught.value)


def test_the_good_file_is_accepted(file: Path) -> None:
    adapting = adapter(CASE)
    adapting.load(file)
    adapting(stream(1)[0])
    assert adapting.steps == WINDOW + 3


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    _refused(tmp_path / "none.safetensors", "no state file at")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    _refused(tmp_path)


@pytest.mark.parametrize("part", [0.0, 1e-3, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(file: Path, part: float) -> None:
    file.write_bytes(file.read_bytes()[: int(part * file.stat().st_size)])
    _refused(file, "is damaged")


@pytest.mark.parametrize("size", [1, 8, 9, 500, 50_000])
def test_random_bytes_are_refused(file: Path, size: int) -> None:
    file.write_bytes(np.random.default_rng(size).bytes(size))
    _refused(file, "is damaged")


def test_a_file_with_a_tail_is_refused(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"tail")
    _refused(file, "is damaged")


def test_any_flipped_byte_of_the_header_is_refused_or_harmless(file: Path) -> None:
    """Harmless: exactly the same state was loaded. Never another exception."""
    data, adapting, good = file.read_bytes(), _used(), _used().state
    length, refused = int.from_bytes(data[:8], "little"), 0
    for position in range(0, 8 + length, 3):
        damaged = bytearray(data)
        damaged[position] ^= 1 << (position % 8)
        file.write_bytes(damaged)
        try:
            adapting.load(file)
        except StateError as error:
            refused += "\n" not in str(error)
        assert_same(adapting.state, good)
    assert refused > 0.4 * length / 3


def test_any_flipped_bit_of_a_tensor_is_refused(file: Path) -> None:
    """A worn memory card flips bits; a running variance must not become negative unnoticed."""
    data = file.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    unnoticed = []
    for position in range(start + 3, len(data), 97):
        damaged = bytearray(data)
        damaged[position] ^= 1 << (position % 8)
        file.write_bytes(damaged)
        try:
            adapter(CASE).load(file)
            unnoticed.append(position)
        except StateError:
            pass
    assert not unnoticed, f"{len(unnoticed)} damaged files were loaded"


def _rewritten(path: Path, change: Callable[[Arrays, dict[str, str]], object]) -> None:
    """Writes the file again with changed tensors or metadata, and the checksum of those."""
    data = path.read_bytes()
    arrays, metadata = dict(load(data)), _header(data)["__metadata__"]
    change(arrays, metadata)
    if "tensors_sha256" in metadata:  # else every change of a tensor would be refused as damage
        metadata["tensors_sha256"] = digest_of(arrays)
    path.write_bytes(save(arrays, metadata))


def _foreign(arrays: Arrays, metadata: dict[str, str]) -> None:
    metadata.clear()
    metadata["format"] = "pt"


METADATA: dict[str, tuple[Callable[[Arrays, dict[str, str]], object], str]] = {
    "another format": (_foreign, "not a state of edge_tta"),
    "no metadata": (lambda a, m: m.clear(), "not a state of edge_tta"),
    "a later version": (lambda a, m: m.update(version="99"), "version 99"),
    "an earlier version": (
        lambda a, m: m.update(version="1"),
        "version 1, this edge_tta reads version 5; use the edge_tta that wrote it, or start with "
        "another --state file",
    ),
    "no version": (lambda a, m: m.pop("version"), "version"),
    "no fingerprint": (lambda a, m: m.pop("source_sha256"), "damaged"),
    "no configuration": (lambda a, m: m.pop("config"), "damaged"),
    "configuration cut off": (lambda a, m: m.update(config=m["config"][:-5]), "damaged"),
    "configuration a list": (lambda a, m: m.update(config="[1]"), "damaged"),
    "configuration a number": (lambda a, m: m.update(config="1"), "damaged"),
    "a field too few": (lambda a, m: m.update(config="{}"), "made with"),
    "steps no number": (lambda a, m: m.update(steps="many"), "damaged"),
    "no checksum": (lambda a, m: m.pop("tensors_sha256"), "damaged"),
    "image without rows": (lambda a, m: m.update(image_shape="[3, 0, 8]"), "damaged"),
    "image of two axes": (lambda a, m: m.update(image_shape="[8, 8]"), "damaged"),
    "image no shape": (lambda a, m: m.update(image_shape='"large"'), "damaged"),
}


@pytest.mark.parametrize("name", METADATA)
def test_a_foreign_or_damaged_header_is_refused(file: Path, name: str) -> None:
    change, match = METADATA[name]
    _rewritten(file, change)
    _refused(file, match)


def test_a_state_for_images_that_the_network_cannot_take_is_refused(file: Path) -> None:
    _rewritten(file, lambda a, m: m.update(image_shape="[4, 8, 8]"))
    fresh = adapter(CASE)
    with pytest.raises(StateError, match=r"saved for images \(4, 8, 8\), but the model cannot"):
        fresh.load(file)
    images = stream(1)[0]
    assert torch.equal(fresh(images), adapter(CASE)(images))


def _set(name: str, value: float) -> Callable[[Arrays, dict[str, str]], object]:
    def change(arrays: Arrays, metadata: dict[str, str]) -> None:
        arrays[name] = arrays[name].copy()
        arrays[name].flat[0] = value

    return change


def _replaced(change: Callable[[Any], Any]) -> Callable[[Arrays, dict[str, str]], object]:
    return lambda arrays, _: arrays.update({"calib.offset": change(arrays["calib.offset"])})


TENSORS: dict[str, tuple[Callable[[Arrays, dict[str, str]], object], str]] = {
    "NaN in the statistics": (
        _set("calib.offset", float("nan")),
        "holds nan in 'calib.offset'",
    ),
    "infinity in a moment": (
        _set("opt.second_moment", float("inf")),
        "holds inf in 'opt.second_moment'",
    ),
    "a missing tensor": (lambda a, m: a.pop("opt.first_moment"), "lacks 'opt.first_moment'"),
    "an unknown tensor": (lambda a, m: a.update(more=np.zeros(3, np.float32)), "'more'"),
    "too short": (_replaced(lambda offset: offset[:-1].copy()), "'calib.offset' is"),
    "another shape": (_replaced(lambda offset: offset[None].copy()), "'calib.offset' is"),
    "another type": (_replaced(lambda offset: offset.astype(np.float64)), "float64"),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_that_do_not_fit_are_refused(file: Path, name: str) -> None:
    change, match = TENSORS[name]
    _rewritten(file, change)
    _refused(file, match)


def test_a_state_of_another_network_is_refused_with_both_fingerprints(tmp_path: Path) -> None:
    other = Adapter(network("used-twice", seed=1), preset="paper", accumulation=WINDOW)
    other(stream(1)[0])
    other.save(tmp_path / "other")
    message = _refused(tmp_path / "other", "belongs to another network")
    for seed in (0, 1):
        assert fingerprint_of(network("used-twice", seed))[:12] in message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("smoothing", 0.5),
        ("accumulation", WINDOW + 1),
        ("taylor", "none"),
        ("views", 1),
        ("learning_rate", 2e-3),
        ("seed", 3),
        ("anchor", 0.1),
    ],
)
def test_a_state_of_another_configuration_is_refused_by_field(
    tmp_path: Path, field: str, value: Any
) -> None:
    _used(**{field: value}).save(tmp_path / "other")
    message = _refused(tmp_path / "other", f"made with {'.'.join(PLACES[field])} = {value!r}")
    assert repr(to_fields(adapter(CASE).config)[field]) in message


def test_a_field_that_a_file_is_older_than_has_its_default(file: Path) -> None:
    _, header = load_state(file)
    layers = {**header.config["layers"]}
    del layers["calibrate_below"]
    older = dataclasses.replace(header, config={**header.config, "layers": layers})
    check_matches(file, older, header)
    check_matches(file, header, older)
    without = {name: value for name, value in header.config.items() if name != "layers"}
    check_matches(file, dataclasses.replace(header, config=without), header)
    asked_layers = {**layers, "adapt_from": "bn", "calibrate_below": True}
    asked = {**header.config, "layers": asked_layers}
    with pytest.raises(StateError, match=r"layers\.adapt_from = ''"):
        check_matches(file, older, dataclasses.replace(header, config=asked))


def test_a_state_of_another_method_is_refused(tmp_path: Path) -> None:
    _used("tent").save(tmp_path / "other")
    _refused(tmp_path / "other", "made with method = 'tent'")


def _no_room(*args: Any, **options: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _no_permission(*args: Any, **options: Any) -> Any:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@pytest.mark.parametrize(
    ("function", "failure", "reason"),
    [
        ("os.replace", _no_permission, "Permission denied"),
        ("os.fsync", _no_room, "No space left"),
        ("tempfile.NamedTemporaryFile", _no_permission, "Permission denied"),
    ],
)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    failure: Callable[..., Any],
    reason: str,
) -> None:
    before, adapting = file.read_bytes(), _used()
    adapting(stream(1)[0])
    state = adapting.state
    with monkeypatch.context() as patch:
        patch.setattr(f"edge_tta.files.{function}", failure)
        with pytest.raises(OutputError, match=f"cannot write .*{reason}") as caught:
            adapting.save(file)
    assert "\n" not in str(caught.value)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]
    assert_same(adapting.state, state)
    adapting.save(file)
    assert file.read_bytes() != before


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    before, adapting = file.read_bytes(), _used()
    adapting(stream(1)[0])
    monkeypatch.setattr("edge_tta.files.os.fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        adapting.save(file)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("place", ["missing/state", "."])
def test_a_missing_folder_or_a_folder_as_file_cannot_be_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "inside").touch()
    with pytest.raises(OutputError, match="cannot write"):
        _used().save(tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_state_file_has_the_permissions_of_any_new_file(file: Path) -> None:
    (file.parent / "plain").write_bytes(b"")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
    assert len(modes) == 1
