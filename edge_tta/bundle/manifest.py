"""Contents of a bundle as its `manifest.json` tells them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_tta import nest
from edge_tta.bundle.records import (
    FileRecord,
    MethodRecord,
    TensorSpec,
    folded_record,
    text_of,
    whole_of,
)
from edge_tta.bundle.runtime import PROFILES
from edge_tta.errors import BundleError, ConfigError, one_line, quoted
from edge_tta.files import write_whole
from edge_tta.prepare import Channels, Fit, InputSpec
from edge_tta.probability import Threshold
from edge_tta.small_files import MIB, check_ordinary, read_small

NEW = "new."
"""Outputs of the state are named so, and otherwise as the inputs."""

FORMAT = "edge_tta-bundle"
VERSION = 5
MANIFEST = "manifest.json"

_MOST_BYTES = 64 * MIB


@dataclass(frozen=True)
class Advice:
    """Way to run a bundle where the user does not say otherwise.

    Attributes:
        profile: `speed` or `memory` (`edge_tta.bundle.runtime`).
    """

    profile: str = "speed"

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise ValueError(f"unknown profile {quoted(self.profile)}")


@dataclass(frozen=True)
class Manifest:
    """A bundle's contents.

    Attributes:
        name: the model as it was named at export, without the folder it was in.
        source_sha256: fingerprint of the network.
        image_shape: (channels, H, W) of its input.
        classes: number of its outputs.
        input: how a frame becomes that input.
        labels: names of the classes, None when unknown.
        weights: the file of fixed tensors.
        methods: by label; the first is what a run takes.
        files: every file of the folder but the manifest.
        advice: bundles of earlier versions have none, which means the defaults.
        task: name of what the outputs mean; of earlier versions, those of a classifier.
        form: how they are nested (`edge_tta.nest`).
        sure_above: `edge_tta.temporal.accuracy.threshold` of its source frames; None: unknown.
    """

    name: str
    source_sha256: str
    image_shape: tuple[int, int, int]
    classes: int
    input: InputSpec
    labels: tuple[str, ...] | None
    weights: str
    methods: Mapping[str, MethodRecord]
    files: Mapping[str, FileRecord]
    advice: Advice = Advice()
    task: str = "classify"
    form: nest.Form = None
    sure_above: Threshold | None = None


def output_names(form: nest.Form) -> list[str]:
    """Return names of the graphs' outputs, without the state: `logits`, or `output.0` and on."""
    count = nest.tensors_in(form)
    return ["logits"] if form is None else [f"output.{i}" for i in range(count)]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest, which makes the folder a bundle: so it is the last to be written."""
    fields = {"format": FORMAT, "version": VERSION, **asdict(manifest)}
    write_whole(folder / MANIFEST, json.dumps(fields, indent=1).encode() + b"\n")


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a folder. Reads no other file.

    Raises:
        BundleError: missing, damaged, of another version, or naming files outside the folder.
    """
    path = folder / MANIFEST
    try:
        check_ordinary(path)
        fields = json.loads(read_small(path, _MOST_BYTES).decode("utf-8"))
    except FileNotFoundError as error:
        raise BundleError(
            f"{folder} holds no {MANIFEST}, so it is no bundle; make one: edge-tta export bundle"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or one_line(error, 120)
        raise BundleError(f"{path} cannot be read ({reason}); {REMEDY}") from error
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise BundleError(f"{path} is not the manifest of a bundle of edge_tta; {REMEDY}")
    if fields.get("version") != VERSION:
        raise BundleError(
            f"{path} has format version {quoted(fields.get('version'), 20)}, this edge_tta reads "
            f"version {VERSION}; export the bundle with this edge_tta"
        )
    try:
        manifest = _parsed(fields)
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
        raise BundleError(f"{path} is damaged ({one_line(error, 120)}); {REMEDY}") from error
    for name in manifest.files:
        if not _is_plain(name):
            raise BundleError(
                f"{path} names the file {quoted(name)}; expected names in its folder; {REMEDY}"
            )
    return manifest


REMEDY = "export the bundle again, or copy it again"


def _parsed(fields: Mapping[str, Any]) -> Manifest:
    given = fields["input"]
    methods = {
        str(label): MethodRecord(
            observe=text_of(record["observe"]),
            learn=None if record["learn"] is None else text_of(record["learn"]),
            predict=text_of(record["predict"]),
            compact=None if record["compact"] is None else text_of(record["compact"]),
            state=text_of(record["state"]),
            layout={
                text_of(name): TensorSpec(tuple(whole_of(size) for size in shape), text_of(dtype))
                for name, (shape, dtype) in record["layout"].items()
            },
            preset=text_of(record["preset"]),
            folded=folded_record(record.get("folded")),
        )
        for label, record in fields["methods"].items()
    }
    files = {
        str(name): FileRecord(whole_of(record["bytes"]), text_of(record["sha256"]))
        for name, record in fields["files"].items()
    }
    weights = text_of(fields["weights"])
    named = {weights}
    for method in methods.values():
        named |= {*method.graphs, method.state}
    if not methods or not named <= set(files):
        raise ValueError(f"no methods, or files without a record: {sorted(named - set(files))}")
    channels, height, width = (whole_of(size) for size in fields["image_shape"])
    labels, size = fields["labels"], given["size"]
    # Bundles of earlier versions have no advice, and do not say what their channels are.
    told, advice = fields.get("advice"), Advice()
    if told is not None:
        advice = Advice(text_of(told["profile"]))
    usual_channels = "gray" if len(given["mean"]) == 1 else "rgb"
    spec = InputSpec(
        size=tuple(size) if isinstance(size, list) else size,
        scale=given["scale"],
        mean=tuple(given["mean"]),
        std=tuple(given["std"]),
        channels=Channels(given.get("channels", usual_channels)),
        fit=Fit(given.get("fit", Fit.CROP.value)),
    )
    if (channels, height, width) != spec.shape:
        raise ValueError(f"images {fields['image_shape']} and input {spec.shape}")
    return Manifest(
        name=text_of(fields["name"]),
        source_sha256=text_of(fields["source_sha256"]),
        image_shape=(channels, height, width),
        classes=whole_of(fields["classes"]),
        input=spec,
        labels=None if labels is None else tuple(text_of(label) for label in labels),
        weights=weights,
        methods=methods,
        files=files,
        advice=advice,
        task=text_of(fields.get("task", Manifest.task)),
        form=nest.checked_form(fields.get("form")),
        sure_above=_threshold(fields.get("sure_above")),
    )


def _threshold(given: Any) -> Threshold | None:
    if given is None:
        return None
    if isinstance(given, list) and [type(number) for number in given] == [float] * 3:
        threshold = Threshold(*given)
        if 0 <= threshold.low <= threshold.value <= threshold.high <= 1:
            return threshold
    raise ValueError(f"expected a threshold and its interval, 0 to 1, got {quoted(given, 40)}")


def _is_plain(name: str) -> bool:
    """Tell whether a file name stays in its folder, on any system."""
    return bool(name) and not set(name) & set("/\\:\0") and name not in (".", "..")
